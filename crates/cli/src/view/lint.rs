//! Findings about manifests, one a line, so that editors and `grep` can read them.

use super::paint::{Palette, Text, Tone};
use crate::lint::{Finding, Report, Severity};

/// The findings, and how many they are.
#[must_use]
pub fn view(report: &Report, palette: Palette) -> String {
    let lines: String = report.findings.iter().map(|finding| line(finding, palette)).collect();
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let objects = count(report.objects, "object");
    let (sum, tone) = match (report.errors, report.warnings) {
        (0, 0) => (format!("{objects}: nothing to mend"), Tone::Good),
        (0, warnings) => (format!("{objects}: {}", count(warnings, "warning")), Tone::Notice),
        (errors, 0) => (format!("{objects}: {}", count(errors, "error")), Tone::Bad),
        (errors, warnings) => {
            (format!("{objects}: {}, {}", count(errors, "error"), count(warnings, "warning")), Tone::Bad)
        }
    };
    format!("{lines}{}\n", Text::toned(sum, tone).painted(palette))
}

fn line(finding: &Finding, palette: Palette) -> String {
    let (word, tone) = match finding.severity {
        Severity::Error => ("error", Tone::Bad),
        Severity::Warning => ("warning", Tone::Notice),
    };
    let word = Text::toned(word, tone).painted(palette);
    let Finding { file, kind, name, field, message, .. } = finding;
    // Lines to copy into a manifest stay lines.
    let message = message.replace('\n', "\n    ");
    format!("{file}: {kind} {name}: {word}: {field}: {message}\n")
}
