"""The thousand commonest words of English that carry meaning, the commonest first.

Taken from the vocabulary of BERT (uncased; Google, Apache-2.0), which is ordered by how often a word occurs in
Wikipedia and in books; words with the stem of an earlier one are left out. headrace.text.lexical weighs words by it.
"""

COMMON_WORDS = """
one him first out new two time over other like back only just during made school through now years world between down
well three while later city under around being used state people part know against second university both national don
known off way until even head didn team american because born united film since still long work south became high
again day family see right man eyes house season war including took life north same each called name place however
four group another found won area here going away series left home music best make hand number company several never
last john very album take end good too following released game played little began district old want those side held
own early county league use west face think government march came small general town june line based something
september thought looked along international air july club went january october august april york few east member
college father public come men five set station church next former november room located december age got system let
love though every song water century without body black night within great women single building large population
river band white started once service top built british open death king moved local children february book door need
president order final road wasn although due major died village third knew asked turned together received main son
served different behind himself felt power football law voice play near park history having saw mother army point
front help english street art award young put published country division across told often french london center six
red led light among species really according central half original gave office enough lost full live given german run
business woman community cup might million land court development short round seen class story always become sure
research almost director council career things using island couldn car close force better free support control field
students education married nothing record big inside level anything continued james military established non returned
feel title written feet william far association hard already championship human western department hall role various
production heart fire version television royal produced act case society region present radio period least total keep
england wife program per brother mind special soon political george taken created further able reached david union
joined upon important social information either appeared position ground lead rock dark election board france hair
course site police girl instead sound words moment someone summer project announced san less wrote past blue india
america design considered northern god stop battle toward european outside described track today language heard
professional low australia miles california win yet green trying blood southern science maybe everything match square
mouth video race leave above daughter space museum change middle common post lake seven tried elected ten paul
minister months chief canada person sea similar modern brought rest hit floor event doing thomas robert killed
training star week finished railway rather health sent example ran term michael currently yes despite gold stage fact
dead popular probably result pulled friend stood money running signed child eventually met tour average minutes
festival deep kind decided usually eastern seemed episode bed added table indian private charles route available idea
throughout centre addition appointed style eight construction press mean wall remained study institute chinese
sometimes possible australian type brown forward talk process food debut seat performance committee features character
herself else lot strong russian range hours peter morning sold quickly directed guitar china performed media smile
myself coach province wouldn whole boy official grand census europe attack japanese henry cross getting alone action
network wide washington japan hospital believe sister hold gone sir hadn ship academy shot below bad involved kept
largest bank future especially beginning mark movement section female magazine plan professor lord sat walked hill
actually civil energy model families size thus aircraft completed data captain fight vocals richard bridge fourth
stone hear medical management self lips competition entire technology federal tournament bit passed hot independent
kingdom mary spent fine doesn reported jack fall raised itself stay true studio sports replaced paris saint theatre
market capital parents spanish canadian earth cut degree writing bay christian natural bill coast provided previous
senior valley organization stopped onto conference queen security interest saying allowed master earlier phone matter
smith winning happened campaign los breath mid certain date italian african standing fell artist shows deal mine
industry everyone republic collection library primary via heavy attention anyone africa length fingers command staff
skin foreign governor okay medal sun cover job introduced chest hell success meet reason standard novel trade source
rose guy goal chapter native husband previously limited entered operations mountain covered related roman successful
key texas cold channel traditional dance clear approximately nine van prince question active ireland regional silver
author personal sense economic twenty isbn additional speed edition regular historic shook movie secretary prior
chicago read view engine scored airport property immediately lady listed contract manager themselves navy meant
practice singer glass commission required forest culture giving access attended test couple catholic martin caught
executive chair quite shoulder hope decision defeated municipality whether structure offered slowly pain ice direction
paper mission mostly noted individual nature plant except computer figure relationship issue significant die gun ago
highest male bring mexico problem distance commercial completely location annual famous drive neck surface caused
italy understand greek highway wrong hotel appearance joseph double musical castle income review assembly initially
parliament experience particular foot engineering window dropped miss baby break edge remember carried stadium bar sex
angeles evidence assistant soviet upper step wing youth financial actor numerous nodded arrived sorry complex
beautiful victory associated temple chance perhaps metal bishop lee launched tree retired subject prize contains yeah
theory empire suddenly waiting trust happy camp champion religious pass zealand port ancient tom corner represented
watch legal anti justice material simply response louis fast answer historical straight increased rate administration
virginia activities cultural overall basketball legs guard beyond cast doctor flight cost effect winter chairman grew
isn pay failed selected hurt fort box regiment
""".split()
