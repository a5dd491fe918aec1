//! Columns, aligned by what is seen and not by bytes.

use super::paint::{Palette, Text};

/// Spaces between columns.
const GAP: usize = 2;

/// Rows of cells as lines; the last cell of a row is not padded, and no line ends with spaces.
#[must_use]
pub fn table(rows: &[Vec<Text>], palette: Palette) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(Text::width).max().unwrap_or(0))
        .collect();
    rows.iter().map(|row| line(row, &widths, palette)).collect()
}

fn line(row: &[Text], widths: &[usize], palette: Palette) -> String {
    let mut line = String::new();
    let mut missing = 0;
    for (cell, width) in row.iter().zip(widths) {
        if cell.width() > 0 {
            line.push_str(&" ".repeat(missing));
            missing = 0;
        }
        line.push_str(&cell.painted(palette));
        missing += width - cell.width() + GAP;
    }
    let mut line = line.trim_end().to_owned();
    line.push('\n');
    line
}
