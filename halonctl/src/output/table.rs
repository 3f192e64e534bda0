//! Box tables: header first, numbers to the right, text to the left, one line per row.

use std::io::{self, Write};

use comfy_table::{
    Cell, CellAlignment, ContentArrangement, ContentLineStyle, LineStyle, TableStyle,
};

use super::printable;

const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::new('┌', '─', '┬', '┐'))
    .header_lines(ContentLineStyle::new('│', '│', '│'))
    .header_separator(LineStyle::new('├', '─', '┼', '┤'))
    .content_lines(ContentLineStyle::new('│', '│', '│'))
    .bottom_border(LineStyle::new('└', '─', '┴', '┘'));

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table under construction.
pub(crate) struct Table {
    aligns: Vec<Align>,
    table: comfy_table::Table,
}

impl Table {
    /// Makes a table with these columns.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = (&'a str, Align)>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(STYLE);
        // Rows keep one line: programs such as grep read tables too.
        table.set_content_arrangement(ContentArrangement::Disabled);
        let (names, aligns): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let mut built = Self { aligns, table };
        let header = built.cells(names);
        built.table.set_header(header);
        built
    }

    /// Adds a row with a text for each column.
    pub(crate) fn row<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) {
        let cells = self.cells(texts);
        self.table.add_row(cells);
    }

    /// Prints the table.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        for line in self.table.lines() {
            writeln!(out, "{line}")?;
        }
        Ok(())
    }

    fn cells<T: AsRef<str>>(&self, texts: impl IntoIterator<Item = T>) -> Vec<Cell> {
        let align = |align: &Align| match align {
            Align::Left => CellAlignment::Left,
            Align::Right => CellAlignment::Right,
        };
        texts
            .into_iter()
            .zip(&self.aligns)
            .map(|(text, column)| Cell::new(printable(text.as_ref())).set_alignment(align(column)))
            .collect()
    }
}
