//! How the CSV is written. Each mark is one ASCII byte.

pub const CR: u8 = b'\r';
pub const LF: u8 = b'\n';

/// See `Dialect` in `csv2kafka/model/flow.py`.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    pub delimiter: u8,
    pub quote: Option<u8>,
    pub escape: Option<u8>,
    pub comment: Option<u8>,
}

impl Dialect {
    /// Whether the fast ways know it: no escapes, no comments, and marks that mean one thing each.
    pub fn is_simple(&self) -> bool {
        let marks = [Some(self.delimiter), self.quote];
        let at_odds =
            self.quote == Some(self.delimiter) || marks.iter().flatten().any(|mark| matches!(*mark, CR | LF | 0));
        self.escape.is_none() && self.comment.is_none() && !at_odds
    }
}

/// Lines that end with LF, CRLF or CR, and one more for a rest without line end.
pub fn count_lines(data: &[u8]) -> usize {
    let lines =
        memchr::memchr2_iter(LF, CR, data).filter(|&at| data[at] == LF || data.get(at + 1) != Some(&LF)).count();
    lines + usize::from(data.last().is_some_and(|last| !matches!(*last, CR | LF)))
}

/// Behind the line end that begins at `at`: LF, CRLF or a lone CR.
pub fn after_line_end(data: &[u8], at: usize) -> usize {
    if data[at] == CR && data.get(at + 1) == Some(&LF) {
        at + 2
    } else {
        at + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_every_kind() {
        assert_eq!(count_lines(b""), 0);
        assert_eq!(count_lines(b"a\n\r\n\rb"), 4);
        assert_eq!(count_lines(b"a\r"), 1);
    }
}
