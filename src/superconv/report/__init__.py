"""Reports from run directories: one HTML file, Markdown, plain values, pictures. No torch is needed."""

from .build import build_report, report_json, report_markdown, write_pngs

__all__ = ["build_report", "report_json", "report_markdown", "write_pngs"]
