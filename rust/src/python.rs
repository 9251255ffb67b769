//! The kernel as Python sees it: arguments and results only. `csv2kafka/kernel/_native` is the other half.
//!
//! Work is done without the GIL, but for looking at a buffer that Python code could change meanwhile.

use ::crc32c::crc32c_append;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes};

use crate::boundary::{find, find_exact, Pieces};
use crate::columns::Columns;
use crate::compression::{decompress, Codec, Fault};
use crate::dialect::Dialect;
use crate::encode::{self, Task};
use crate::given::{cells, Given, Input};
use crate::held::{Column, Held, Selection};
use crate::inflate::{Stop, Stream};
use crate::pack::{self, Body, HEADER_BYTES};
use crate::pool::Pooled;
use crate::{compare, digest as hash, unpack};

pyo3::create_exception!(_rust, Undecodable, PyValueError, "Not data of that codec.");
pyo3::create_exception!(_rust, TooLong, PyValueError, "More decompressed data than is allowed.");
pyo3::create_exception!(_rust, Malformed, PyValueError, "The bytes are not the records they should be.");

type Marks = (u8, Option<u8>, Option<u8>, Option<u8>);

fn dialect((delimiter, quote, escape, comment): Marks) -> Dialect {
    Dialect { delimiter, quote, escape, comment }
}

/// Of a buffer that Python code could change meanwhile, so the GIL is kept: a part at a time is copied.
#[pyfunction]
#[pyo3(name = "crc32c")]
fn checksum(data: &Bound<PyAny>) -> PyResult<u32> {
    let buffer = PyBuffer::<u8>::get(data)?;
    let mut part = [0; 4096];
    Ok(cells(data.py(), &buffer)?.chunks(part.len()).fold(0, |crc, chunk| {
        let copied = part.iter_mut().zip(chunk).map(|(byte, cell)| *byte = cell.get()).count();
        crc32c_append(crc, &part[..copied])
    }))
}

#[pyfunction]
#[pyo3(signature = (pieces, quote, end=None))]
fn find_boundary(pieces: Vec<Bound<PyBytes>>, quote: Option<u8>, end: Option<usize>, py: Python) -> usize {
    let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
    py.detach(|| {
        let text = Pieces(&pieces);
        find(text, quote, end.unwrap_or(usize::MAX).min(text.len()))
    })
}

#[pyfunction]
fn find_boundary_exact(data: &Bound<PyAny>, marks: Marks, end: Option<usize>, last: bool) -> PyResult<usize> {
    // One byte more than is searched tells whether a CR is half a line end.
    let input = Input::until(data, end.unwrap_or(usize::MAX).saturating_add(1))?;
    let bytes = input.bytes();
    let stop = end.unwrap_or(bytes.len()).min(bytes.len());
    Ok(data.py().detach(|| find_exact(bytes, &dialect(marks), stop, last)))
}

type Numbers<'py> = Bound<'py, PyBytes>;

fn ends<'py>(py: Python<'py>, column: &[u32]) -> Numbers<'py> {
    PyBytes::new(py, bytemuck::cast_slice(column))
}

/// Rows that stay here: Python's bytes are made of them when they are asked for.
#[pyclass(frozen)]
pub struct Rows(pub Held);

#[pymethods]
impl Rows {
    /// Bytes of values and keys together.
    #[getter]
    fn size(&self) -> usize {
        let last = |ends: &[u32]| ends.last().map_or(0, |end| *end as usize);
        last(self.0.value_ends()) + self.0.key_ends().map_or(0, last)
    }

    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        side_by_side(py, self.all()?.values, self.0.value_ends())
    }

    fn value_ends<'py>(&self, py: Python<'py>) -> Numbers<'py> {
        ends(py, self.0.value_ends())
    }

    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let (keys, ends) = (self.all()?.keys, self.0.key_ends());
        keys.zip(ends).map(|(keys, ends)| side_by_side(py, keys, ends)).transpose()
    }

    fn key_ends<'py>(&self, py: Python<'py>) -> Option<Numbers<'py>> {
        self.0.key_ends().map(|column| ends(py, column))
    }
}

impl Rows {
    fn all(&self) -> PyResult<Selection<'_>> {
        self.0.rows(0, self.0.count).ok_or_else(|| PyValueError::new_err("rows that are not there"))
    }
}

fn side_by_side<'py>(py: Python<'py>, column: Column, ends: &[u32]) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, ends.last().copied().unwrap_or(0) as usize, |out| {
        py.detach(|| {
            let mut at = 0;
            for row in column.rows() {
                out[at..at + row.len()].copy_from_slice(row);
                at += row.len();
            }
        });
        Ok(())
    })
}

// rows, row ends, row lines, refused rows, end, lines
type Encoded<'py> = (Rows, Numbers<'py>, Numbers<'py>, Vec<Bad>, usize, usize);
type Bad = (usize, usize, usize, usize, String);

#[pyfunction]
fn encode_json<'py>(
    data: &Bound<'py, PyAny>,
    marks: Marks,
    shown_delimiter: &str,
    names: Vec<PyBackedBytes>,
    keys: Vec<usize>,
    last: bool,
) -> PyResult<Encoded<'py>> {
    let names: Vec<Vec<u8>> = names.iter().map(|name| name.to_vec()).collect();
    let width = names.len();
    encoded(data, marks, shown_delimiter, width, &keys, last, |task| encode::encode_json(task, &names))
}

#[pyfunction]
fn encode_raw<'py>(
    data: &Bound<'py, PyAny>,
    marks: Marks,
    shown_delimiter: &str,
    width: usize,
    keys: Vec<usize>,
    last: bool,
) -> PyResult<Encoded<'py>> {
    encoded(data, marks, shown_delimiter, width, &keys, last, encode::encode_raw)
}

fn encoded<'py>(
    data: &Bound<'py, PyAny>,
    marks: Marks,
    shown_delimiter: &str,
    width: usize,
    keys: &[usize],
    last: bool,
    encode: impl FnOnce(&Task) -> Columns + Send,
) -> PyResult<Encoded<'py>> {
    let py = data.py();
    let input = Input::new(data)?;
    let data = input.bytes();
    if keys.iter().any(|key| *key >= width) {
        return Err(PyValueError::new_err(format!("key columns {keys:?} of {width} columns")));
    }
    let task = Task { data, dialect: dialect(marks), shown_delimiter, width, keys, last };
    let mut columns = py.detach(|| encode(&task));
    if !columns.fits() {
        return Err(PyOverflowError::new_err("a column of more than 4 GiB"));
    }
    let (end, lines, bad) = (columns.rows.end, columns.rows.lines, std::mem::take(&mut columns.bad));
    let (held, row_ends, row_lines) = py.detach(|| columns.finish());
    let count = held.count;
    Ok((
        Rows(held),
        ends(py, &row_ends[..count]),
        ends(py, &row_lines[..count]),
        bad.into_iter().map(|row| (row.index, row.start, row.end, row.line, row.reason)).collect(),
        end,
        lines,
    ))
}

#[pyfunction]
fn digest(rows: &Bound<PyAny>, first: usize, last: usize) -> PyResult<u128> {
    let given = Given::new(rows, first, last)?;
    let selected = given.rows(first, last)?;
    Ok(rows.py().detach(|| hash::digest(&selected)))
}

/// How many of `count` rows of `a` from `a_first` on, and of `b` from `b_first` on, are equal.
#[pyfunction]
fn equal_rows(a: &Bound<PyAny>, a_first: usize, b: &Bound<PyAny>, b_first: usize, count: usize) -> PyResult<usize> {
    let (a_last, b_last) = (a_first.saturating_add(count), b_first.saturating_add(count));
    let (one, other) = (Given::new(a, a_first, a_last)?, Given::new(b, b_first, b_last)?);
    let (rows, others) = (one.rows(a_first, a_last)?, other.rows(b_first, b_last)?);
    Ok(a.py().detach(|| compare::equal_rows(&rows, &others)))
}

#[pyfunction]
fn pack_batch<'py>(
    rows: &Bound<'py, PyAny>,
    first: usize,
    last: usize,
    codec: u8,
    level: Option<i32>,
) -> PyResult<Bound<'py, PyByteArray>> {
    let py = rows.py();
    let codec = Codec::from_code(codec).ok_or_else(|| PyValueError::new_err("no such codec"))?;
    let given = Given::new(rows, first, last)?;
    let selected = given.rows(first, last)?;
    let there = given.held().and_then(|held| held.body_of(first, last));
    let body = py.detach(|| there.map_or_else(|| Made::Now(Body::new(&selected)), Made::Before));
    let (size, count) = (body.size(), last - first);
    if i32::try_from(size + HEADER_BYTES).is_err() {
        return Err(PyOverflowError::new_err("a record batch of more than 2 GiB"));
    }
    if codec == Codec::None {
        return PyByteArray::new_with(py, HEADER_BYTES + size, |batch| {
            py.detach(|| {
                match &body {
                    Made::Before(body) => batch[HEADER_BYTES..].copy_from_slice(body),
                    Made::Now(body) => body.write(&mut batch[HEADER_BYTES..]),
                }
                pack::write_header(batch, count, codec);
            });
            Ok(())
        });
    }
    let packed = py.detach(|| match &body {
        Made::Before(body) => pack::compressed(body, count, codec, level),
        Made::Now(body) => {
            let mut plain = Pooled::new(size);
            body.write(&mut plain[..size]);
            pack::compressed(&plain[..size], count, codec, level)
        }
    });
    let (packed, size) = packed.map_err(PyValueError::new_err)?;
    Ok(PyByteArray::new(py, &packed[..size]))
}

/// A batch's body, as it stands there already or is still to be written.
enum Made<'a> {
    Before(&'a [u8]),
    Now(Body<'a>),
}

impl Made<'_> {
    fn size(&self) -> usize {
        match self {
            Made::Before(body) => body.len(),
            Made::Now(body) => body.size,
        }
    }
}

// rows, deltas, rows with null keys, with null values, headers
type Unpacked<'py> = (Rows, Numbers<'py>, Vec<usize>, Vec<usize>, Vec<RowHeaders<'py>>);
type RowHeaders<'py> = (usize, Vec<(Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>)>);

/// The records of a batch whose header says `codec` and `count`; they begin at `start` and are at most `limit`
/// bytes decompressed.
#[pyfunction]
fn unpack_records<'py>(
    batch: &Bound<'py, PyAny>,
    start: usize,
    codec: u8,
    count: i32,
    limit: usize,
) -> PyResult<Unpacked<'py>> {
    let py = batch.py();
    let codec = Codec::from_code(codec).ok_or_else(|| PyValueError::new_err("no such codec"))?;
    let input = Input::new(batch)?;
    let packed = input.bytes().get(start..).unwrap_or_default();
    let body = match count {
        0 => Ok((Pooled::default(), 0)),
        _ => py.detach(|| decompress(packed, codec, limit)),
    };
    let (body, filled) = body.map_err(|fault| match fault {
        Fault::Undecodable(why) => Undecodable::new_err(why),
        Fault::TooLong => TooLong::new_err(()),
    })?;
    let unpacked = py.detach(|| unpack::unpack(body, filled, count)).ok_or_else(|| Malformed::new_err(()))?;
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    let headers = unpacked.headers.iter().map(|(row, headers)| {
        let headers = headers.iter().map(|(name, value)| (bytes(name), value.as_deref().map(bytes)));
        (*row, headers.collect())
    });
    let deltas = ends(py, &unpacked.deltas[..unpacked.rows.count]);
    Ok((Rows(unpacked.rows), deltas, unpacked.null_keys, unpacked.null_values, headers.collect()))
}

/// CRC-32 as gzip has it, of `data` behind what gave `crc`.
#[pyfunction]
#[pyo3(signature = (data, crc=0))]
fn crc32(data: &Bound<PyBytes>, crc: u32) -> u32 {
    let bytes = data.as_bytes();
    data.py().detach(|| zlib_rs::crc32::crc32(crc, bytes))
}

/// A raw deflate stream; `window` stands before it.
#[pyclass]
pub struct Inflater(Stream);

#[pymethods]
impl Inflater {
    #[new]
    #[pyo3(signature = (window=None))]
    fn new(window: Option<&[u8]>) -> PyResult<Self> {
        let stream = Stream::new(window.unwrap_or_default());
        stream.map(Self).ok_or_else(|| PyValueError::new_err("a window that cannot be one"))
    }

    /// At most `limit` bytes, how many of `data` from `start` on were used, and why it stopped.
    #[pyo3(signature = (data, start, limit, to_boundary=false))]
    fn inflate<'py>(
        &mut self,
        data: &Bound<'py, PyBytes>,
        start: usize,
        limit: usize,
        to_boundary: bool,
    ) -> PyResult<(Bound<'py, PyBytes>, usize, &'static str)> {
        let py = data.py();
        let data = data.as_bytes().get(start..).unwrap_or_default();
        let (mut used, mut made, mut stop) = (0, 0, Stop::More);
        let out = PyBytes::new_with(py, limit, |out| {
            (used, made, stop) = py.detach(|| self.0.run(data, out, to_boundary));
            Ok(())
        })?;
        let out = if made == limit { out } else { PyBytes::new(py, &out.as_bytes()[..made]) };
        let why = match stop {
            Stop::More => "more",
            Stop::Boundary => "boundary",
            Stop::End => "end",
            Stop::Damage => "damage",
        };
        Ok((out, used, why))
    }
}

#[pymodule]
mod _rust {
    #[pymodule_export]
    use super::{
        checksum, crc32, digest, encode_json, encode_raw, equal_rows, find_boundary, find_boundary_exact, pack_batch,
        unpack_records, Inflater, Malformed, Rows, TooLong, Undecodable,
    };
}
