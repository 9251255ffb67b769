//! The exact machine: one record after the other, each field in full, whatever the bytes are.
//!
//! It takes what `_python/rows.py` takes and says the same. The fast ways give a row to it that they do not
//! understand, and go on behind it.

use memchr::{memchr2, memchr3};

use crate::dialect::{after_line_end, Dialect, CR, LF};

/// A record, or a blank line or comment (then there are no fields). `problem`: why it is malformed.
#[derive(Debug)]
pub struct Row {
    pub content_end: usize,
    pub end: usize,
    pub is_record: bool,
    pub problem: Option<String>,
}

/// The fields of one row, unquoted and unescaped. Kept from row to row for its memory.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn get(&self, column: usize) -> &[u8] {
        let start = if column == 0 { 0 } else { self.ends[column - 1] };
        &self.bytes[start..self.ends[column]]
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn close(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// The exact machine of one dialect. `shown_delimiter`: as an error has it.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    pub dialect: Dialect,
    pub shown_delimiter: &'a str,
}

impl Machine<'_> {
    /// The record at `start`, its fields in `fields`; None when data ends inside quotes, or, unless it is the
    /// `last`, without a line end.
    pub fn read(&self, data: &[u8], start: usize, last: bool, fields: &mut Fields) -> Option<Row> {
        fields.clear();
        let first = data[start];
        let row = if Some(first) == self.dialect.comment || matches!(first, CR | LF) {
            skipped(data, start)
        } else {
            self.record(data, start, fields)?
        };
        (last || row.content_end != row.end).then_some(row)
    }

    fn record(&self, data: &[u8], start: usize, fields: &mut Fields) -> Option<Row> {
        let mut problem: Option<String> = None;
        let mut pos = start;
        loop {
            let opened = data.get(pos).is_some_and(|byte| Some(*byte) == self.dialect.quote);
            if opened {
                pos = self.quoted(data, pos + 1, fields)?;
                if let Some(&stray) = data.get(pos) {
                    if !self.ends_field(stray) {
                        problem.get_or_insert_with(|| self.after_closing(stray, pos - start, fields.len() + 1));
                        fields.bytes.push(stray);
                        pos += 1;
                    }
                }
            }
            let (end, dangling) = self.unquoted(data, pos, fields);
            pos = end;
            if dangling {
                problem.get_or_insert_with(|| {
                    format!("escape character with nothing after it, in field {}", fields.len() + 1)
                });
            }
            fields.close();
            match data.get(pos) {
                Some(&byte) if byte == self.dialect.delimiter => pos += 1,
                found => {
                    let end = found.map_or(pos, |_| after_line_end(data, pos));
                    return Some(Row { content_end: pos, end, is_record: true, problem });
                }
            }
        }
    }

    /// Collect a quoted field's content from `pos` on; behind its closing quote.
    fn quoted(&self, data: &[u8], mut pos: usize, fields: &mut Fields) -> Option<usize> {
        let quote = self.dialect.quote?;
        loop {
            let rest = data.get(pos..)?;
            let found = memchr2(quote, self.dialect.escape.unwrap_or(quote), rest)?;
            fields.bytes.extend_from_slice(&rest[..found]);
            let following = rest.get(found + 1).copied();
            if Some(rest[found]) == self.dialect.escape || following == Some(quote) {
                fields.bytes.extend(following);
                pos += found + 2;
            } else {
                return Some(pos + found + 1);
            }
        }
    }

    /// Collect unquoted content; where it ended, and whether an escape was the last byte of data.
    fn unquoted(&self, data: &[u8], mut pos: usize, fields: &mut Fields) -> (usize, bool) {
        loop {
            let rest = &data[pos..];
            let found = match self.dialect.escape {
                None => memchr3(self.dialect.delimiter, CR, LF, rest),
                Some(escape) => rest.iter().position(|&byte| byte == escape || self.ends_field(byte)),
            };
            let at = found.unwrap_or(rest.len());
            fields.bytes.extend_from_slice(&rest[..at]);
            pos += at;
            if found.is_none() || Some(rest[at]) != self.dialect.escape {
                return (pos, false);
            }
            let Some(&following) = rest.get(at + 1) else {
                return (pos + 1, true);
            };
            fields.bytes.push(following);
            pos += 2;
        }
    }

    fn ends_field(&self, byte: u8) -> bool {
        byte == self.dialect.delimiter || matches!(byte, CR | LF)
    }

    fn after_closing(&self, stray: u8, place: usize, number: usize) -> String {
        format!(
            "character after the closing quote: expected {} or a line end, found {} at byte {place} of the row, in field {number}",
            self.shown_delimiter,
            shown(stray),
        )
    }
}

fn skipped(data: &[u8], start: usize) -> Row {
    let found = memchr2(CR, LF, &data[start..]).map(|at| start + at);
    Row {
        content_end: found.unwrap_or(data.len()),
        end: found.map_or(data.len(), |at| after_line_end(data, at)),
        is_record: false,
        problem: None,
    }
}

/// A byte as Python's `repr` shows the character.
fn shown(byte: u8) -> String {
    match byte {
        b'\'' => "\"'\"".into(),
        b'\\' => "'\\\\'".into(),
        0x20..=0x7e => format!("'{}'", byte as char),
        _ => format!("0x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(escape: Option<u8>, comment: Option<u8>) -> Machine<'static> {
        let dialect = Dialect { delimiter: b',', quote: Some(b'"'), escape, comment };
        Machine { dialect, shown_delimiter: "','" }
    }

    fn fields_of(machine: Machine, data: &[u8]) -> Option<(Vec<Vec<u8>>, usize, Option<String>)> {
        let mut fields = Fields::default();
        let row = machine.read(data, 0, true, &mut fields)?;
        let all = (0..fields.len()).map(|column| fields.get(column).to_vec()).collect();
        Some((all, row.end, row.problem))
    }

    #[test]
    fn quotes_escapes_and_what_is_behind_them() {
        let plain = machine(None, None);
        assert_eq!(fields_of(plain, b"\"a\"\"b\",c\r\nd").unwrap(), (vec![b"a\"b".to_vec(), b"c".to_vec()], 10, None));
        let stray = fields_of(plain, b"\"a\"x,b\n").unwrap();
        assert_eq!(stray.0, vec![b"ax".to_vec(), b"b".to_vec()]);
        assert!(stray.2.unwrap().ends_with("found 'x' at byte 3 of the row, in field 1"));
        assert!(fields_of(plain, b"\"a").is_none());
        let escaping = machine(Some(b'\\'), None);
        assert_eq!(fields_of(escaping, b"a\\,b\\").unwrap().0, vec![b"a,b".to_vec()]);
    }

    #[test]
    fn comments_and_blank_lines_have_no_fields() {
        let mut fields = Fields::default();
        let row = machine(None, Some(b'#')).read(b"#a,\"b\nc", 0, false, &mut fields).unwrap();
        assert_eq!((row.content_end, row.end, row.is_record, fields.len()), (5, 6, false, 0));
        assert!(machine(None, Some(b'#')).read(b"#a", 0, false, &mut fields).is_none());
    }
}
