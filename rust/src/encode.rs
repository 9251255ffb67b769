//! A chunk of whole records to columns of values and keys: see `_python/encode.py`.
//!
//! Dialects with escapes or comments are read by the exact machine; others by a fast way, which leaves single rows
//! to the exact machine.

use crate::columns::{Columns, Refused};
use crate::dialect::{count_lines, Dialect};
use crate::fused::{Fused, Span, Stop};
use crate::index::{Marks, Window, BLOCK, MARGIN};
use crate::json::{leads, quote, Lead};
use crate::plain::Plain;
use crate::rows::{Fields, Machine, Row};

/// Room for this many bytes of values is made at a time, at least.
const ROOM: usize = 64 << 10;

/// What a chunk is and how it is read. `keys`: the columns that make the record's key.
pub struct Task<'a> {
    pub data: &'a [u8],
    pub dialect: Dialect,
    pub shown_delimiter: &'a str,
    pub width: usize,
    pub keys: &'a [usize],
    pub last: bool,
}

/// Each row as a JSON object. `names`: the columns', as JSON has them, with their quotes. `values`: a buffer to
/// write to.
pub fn encode_json(task: &Task, names: &[Vec<u8>], values: Vec<u8>) -> Columns {
    let leads = leads(names);
    let mut columns = task.columns(values);
    let mut exact = Exact::new(task, Some(&leads));
    let suspect = simdutf8::basic::from_utf8(task.data).is_err();
    let fused = Fused::new(task.marks(), &leads, suspect).filter(|_| task.dialect.is_simple());
    let Some(fused) = fused else {
        while exact.row(&mut columns) {}
        return columns;
    };
    let mut spans = vec![Span::default(); task.width];
    let mut take_key = |spans: &[Span], columns: &mut Columns| task.take_key(spans, columns);
    columns.make_room(ROOM.max(task.data.len() * 2));
    task.windows(&mut columns, exact, |window, columns| {
        if task.keys.is_empty() {
            fused.run::<false>(window, columns, &mut spans, &mut take_key)
        } else {
            fused.run::<true>(window, columns, &mut spans, &mut take_key)
        }
    });
    columns
}

/// Each row's own bytes, without line end.
pub fn encode_raw(task: &Task, values: Vec<u8>) -> Columns {
    let mut columns = task.columns(values);
    let mut exact = Exact::new(task, None);
    if !task.dialect.is_simple() || task.width == 0 {
        while exact.row(&mut columns) {}
        return columns;
    }
    let plain = Plain { marks: task.marks(), width: task.width };
    let mut spans = vec![Span::default(); task.width];
    let mut take_key = |spans: &[Span], columns: &mut Columns| task.take_key(spans, columns);
    task.windows(&mut columns, exact, |window, columns| {
        if task.keys.is_empty() {
            plain.run::<false>(window, columns, &mut spans, &mut take_key)
        } else {
            plain.run::<true>(window, columns, &mut spans, &mut take_key)
        }
    });
    columns
}

impl Task<'_> {
    fn marks(&self) -> Marks {
        Marks { delimiter: self.dialect.delimiter, quote: self.dialect.quote }
    }

    /// No rows yet, and room for some.
    fn columns(&self, values: Vec<u8>) -> Columns {
        let rows = self.data.len() / 64 + 16;
        let key_rows = if self.keys.is_empty() { 0 } else { rows };
        Columns {
            values,
            value_ends: Vec::with_capacity(rows),
            key_ends: Vec::with_capacity(key_rows),
            row_ends: Vec::with_capacity(rows),
            row_lines: Vec::with_capacity(rows),
            ..Columns::default()
        }
    }

    /// All rows by the fast way, but for those that it leaves to the exact machine. What it cannot see at the end of
    /// data, which has no margin behind it, it sees in a copy with zeros there.
    fn windows(&self, columns: &mut Columns, mut exact: Exact, mut fast: impl FnMut(Window, &mut Columns) -> Stop) {
        let mut tail = Vec::new();
        let mut window = Window { bytes: self.data, offset: 0 };
        while columns.end < self.data.len() {
            match fast(window, columns) {
                Stop::Full => columns.make_room((columns.values.len() - columns.filled) * 2 + ROOM),
                Stop::Done if tail.is_empty() && columns.end < self.data.len() => {
                    tail.extend_from_slice(&self.data[columns.end..]);
                    tail.resize(tail.len() + BLOCK + MARGIN, 0);
                    window = Window { bytes: &tail, offset: columns.end };
                }
                _ if exact.row(columns) => {}
                _ => return,
            }
        }
    }

    /// Add the key of the row whose fields are `spans`.
    fn take_key(&self, spans: &[Span], columns: &mut Columns) {
        let mut field = Vec::new();
        if let [column] = self.keys {
            self.content(spans[*column], &mut columns.keys);
        } else {
            for (place, &column) in self.keys.iter().enumerate() {
                columns.keys.push(if place == 0 { b'[' } else { b',' });
                field.clear();
                self.content(spans[column], &mut field);
                quote(&field, &mut columns.keys);
            }
            columns.keys.push(b']');
        }
        columns.key_ends.push(columns.keys.len() as u32);
    }

    /// A field's content, doubled quotes made single.
    fn content(&self, span: Span, out: &mut Vec<u8>) {
        let mut rest = &self.data[span.start..span.end];
        if let (true, Some(quote)) = (span.quoted, self.dialect.quote) {
            while let Some(at) = memchr::memchr(quote, rest) {
                out.extend_from_slice(&rest[..=at]);
                rest = &rest[at + 2..];
            }
        }
        out.extend_from_slice(rest);
    }
}

/// The exact machine at work on a chunk. `leads`: for JSON.
struct Exact<'a> {
    task: &'a Task<'a>,
    leads: Option<&'a [Lead]>,
    machine: Machine<'a>,
    fields: Fields,
    value: Vec<u8>,
}

impl<'a> Exact<'a> {
    fn new(task: &'a Task, leads: Option<&'a [Lead]>) -> Self {
        let machine = Machine { dialect: task.dialect, shown_delimiter: task.shown_delimiter };
        Self { task, leads, machine, fields: Fields::default(), value: Vec::new() }
    }

    /// Read the row at `columns.end`; false where there is no whole one.
    fn row(&mut self, columns: &mut Columns) -> bool {
        let (data, start) = (self.task.data, columns.end);
        if start == data.len() {
            return false;
        }
        let Some(row) = self.machine.read(data, start, self.task.last, &mut self.fields) else {
            return false;
        };
        let line = columns.lines;
        columns.lines += count_lines(&data[start..row.end]);
        columns.end = row.end;
        if !row.is_record {
            return true;
        }
        let end = row.content_end;
        match self.refusal(start, row) {
            Some(reason) => {
                let index = columns.value_ends.len();
                columns.bad.push(Refused { index, start, end, line, reason });
            }
            None => self.add(&data[start..end], columns),
        }
        true
    }

    fn refusal(&self, start: usize, row: Row) -> Option<String> {
        let (found, expected) = (self.fields.len(), self.task.width);
        if row.problem.is_some() {
            return row.problem;
        }
        if found != expected {
            let few = if found < expected { "few" } else { "many" };
            return Some(format!("too {few} fields: expected {expected}, found {found}"));
        }
        let content = &self.task.data[start..row.content_end];
        let invalid = self.leads.and_then(|_| std::str::from_utf8(content).err());
        invalid.map(|error| {
            let at = error.valid_up_to();
            format!("not valid UTF-8: byte 0x{:02x} at byte {at} of the row", content[at])
        })
    }

    fn add(&mut self, content: &[u8], columns: &mut Columns) {
        match self.leads {
            None => columns.append(content),
            Some(leads) => {
                self.value.clear();
                for (column, lead) in leads.iter().enumerate() {
                    // `quote` writes the quotes that leads have too.
                    let whole = lead.bytes();
                    let before = &whole[usize::from(column > 0)..whole.len() - 1];
                    self.value.extend_from_slice(before);
                    quote(self.fields.get(column), &mut self.value);
                }
                self.value.push(b'}');
                columns.append(&self.value);
            }
        }
        columns.close_row(columns.end, columns.lines);
        if !self.task.keys.is_empty() {
            self.add_key(columns);
        }
    }

    fn add_key(&self, columns: &mut Columns) {
        if let [column] = self.task.keys {
            columns.keys.extend_from_slice(self.fields.get(*column));
        } else {
            for (place, &column) in self.task.keys.iter().enumerate() {
                columns.keys.push(if place == 0 { b'[' } else { b',' });
                quote(self.fields.get(column), &mut columns.keys);
            }
            columns.keys.push(b']');
        }
        columns.key_ends.push(columns.keys.len() as u32);
    }
}
