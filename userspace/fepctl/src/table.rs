// SPDX-License-Identifier: GPL-2.0

//! Columns of text.

use std::io::{self, Write};

/// How a column is aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows whose columns line up.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(Align, usize)>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A table with these headings.
    pub(crate) fn new(headings: &[(&str, Align)]) -> Self {
        let mut table = Self {
            columns: headings.iter().map(|(_, align)| (*align, 0)).collect(),
            rows: Vec::new(),
            indent: 0,
        };
        table.row(headings.iter().map(|(heading, _)| (*heading).to_owned()));
        table
    }

    /// With each row moved to the right.
    pub(crate) fn indented(mut self, indent: usize) -> Self {
        self.indent = indent;
        self
    }

    /// Adds a row. A column is at least as wide as its widest cell.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cells: Vec<String> = cells.into_iter().collect();
        for ((_, width), cell) in self.columns.iter_mut().zip(&cells) {
            *width = (*width).max(cell.chars().count());
        }
        self.rows.push(cells);
    }

    /// Writes all rows and forgets them; the widths stay.
    pub(crate) fn write(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for row in self.rows.drain(..) {
            let mut line = " ".repeat(self.indent);
            for (at, ((align, width), cell)) in self.columns.iter().zip(&row).enumerate() {
                if at != 0 {
                    line.push_str("  ");
                }
                match align {
                    Align::Left => line.push_str(&format!("{cell:<width$}")),
                    Align::Right => line.push_str(&format!("{cell:>width$}")),
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("NODE", Align::Left), ("WEIGHT", Align::Right)]).indented(2);
        table.row(["10.1.0.2:80".to_owned(), "2".to_owned()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "  NODE         WEIGHT\n  10.1.0.2:80       2\n");
    }
}
