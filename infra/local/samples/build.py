"""Writes the samples that are no plain text: `python infra/local/samples/build.py`. The texts are our own."""

from __future__ import annotations

from pathlib import Path

import openpyxl
from docx import Document
from fpdf import FPDF
from pptx import Presentation

FOLDER = Path(__file__).parent
HANDBOOK = {
    "Working time": [
        "The working week has 38 hours. Control room staff work in three shifts of eight hours; a night shift counts one and a quarter times.",
        "On-call duty rotates weekly and is paid with 120 euro a week, and each call-out with at least two hours.",
    ],
    "Leave": [
        "Everyone has 28 days of paid holiday a year. Up to five days may be carried over until the end of March.",
    ],
    "Parental leave": [
        "Parents may take 26 weeks of parental leave, and the cooperative tops the allowance up to 90 percent of the salary for the first 14 weeks.",
        "Tell the office at least eight weeks before the leave begins.",
    ],
    "Expenses": [
        "Train tickets are paid in second class. Hotel rooms are paid up to 110 euro a night. Hand in receipts within thirty days.",
    ],
}
MANUAL = {
    "Safety": [
        "Never open the inspection hatch while the butterfly valve is open. Lock the valve with the red padlock and keep the key on you.",
        "Wear ear protection in the turbine hall whenever a machine runs: the noise level is 96 decibels.",
    ],
    "Starting the turbine": [
        "Open the bypass first and wait until the pressure in the spiral casing has risen to 4.5 bar. Then open the butterfly valve slowly, within at least 90 seconds.",
        "Synchronise with the grid at 600 revolutions per minute. If the machine runs over 780 revolutions per minute, the overspeed trip closes the valve.",
    ],
    "Lubrication": [
        "The main bearing takes 18 litres of turbine oil of grade ISO VG 46. Change the oil every 8000 operating hours or every two years.",
        "When the bearing temperature exceeds 75 degrees Celsius, reduce the load; at 85 degrees Celsius, stop the machine.",
    ],
}


def main() -> None:
    """Write the documents beside this file."""
    _handbook()
    _manual()
    _spare_parts()
    _expansion()


def _handbook() -> None:
    document = Document()
    document.add_heading("Staff handbook", 0)
    for title, paragraphs in HANDBOOK.items():
        document.add_heading(title, 1)
        for paragraph in paragraphs:
            document.add_paragraph(paragraph)
    document.save(str(FOLDER / "staff-handbook.docx"))


def _manual() -> None:
    pdf = FPDF()
    pdf.set_title("Francis turbine manual")
    for title, paragraphs in MANUAL.items():
        pdf.add_page()
        pdf.start_section(title)
        pdf.set_font("helvetica", style="B", size=16)
        pdf.multi_cell(0, 12, title, new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("helvetica", size=11)
        for paragraph in paragraphs:
            pdf.multi_cell(0, 6, paragraph, new_x="LMARGIN", new_y="NEXT")
            pdf.ln(4)
    pdf.output(str(FOLDER / "turbine-manual.pdf"))


def _spare_parts() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Spare parts"
    sheet.append(["Part", "Number", "On the shelf", "Supplier"])
    sheet.append(["Shaft seal", "AC-1107", 4, "Norrdichtung"])
    sheet.append(["Guide vane bearing", "AC-2210", 12, "Kugel and Sons"])
    sheet.append(["Oil filter", "AC-3035", 7, "Puroil"])
    sheet.append(["Rake chain link", "AC-4002", 60, "Kettenwerk Tal"])
    book.save(FOLDER / "spare-parts.xlsx")


def _expansion() -> None:
    deck = Presentation()
    for title, body in (
        ("The third turbine", "A third turbine of 450 kilowatts will raise the yearly yield by 1.6 gigawatt hours."),
        ("Schedule", "Building starts in March 2027. The turbine is to run before the snow melts in 2028."),
    ):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    deck.save(str(FOLDER / "expansion.pptx"))


if __name__ == "__main__":
    main()
