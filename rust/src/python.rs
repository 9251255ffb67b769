//! The kernel as Python sees it: arguments and results only. `csv2kafka/kernel/_native` is the other half.
//!
//! Work is done without the GIL, but for looking at a buffer that Python code could change meanwhile.

use pyo3::buffer::{PyBuffer, ReadOnlyCell};
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyByteArray, PyBytes};

use crate::boundary::{find, find_exact, Bytes};
use crate::columns::Columns;
use crate::compression::{decompress, Codec, Fault};
use crate::dialect::Dialect;
use crate::encode::{self, Task};
use crate::pack::{self, Body, Column, HEADER_BYTES};
use crate::scratch::{self, Use};
use crate::{digest as hash, unpack};

pyo3::create_exception!(_rust, Undecodable, PyValueError, "Not data of that codec.");
pyo3::create_exception!(_rust, TooLong, PyValueError, "More decompressed data than is allowed.");
pyo3::create_exception!(_rust, Malformed, PyValueError, "The bytes are not the records they should be.");

/// Bytes of Python's, borrowed where nobody can change them, else copied.
enum Input<'py> {
    Borrowed(Bound<'py, PyBytes>),
    Copied(Vec<u8>),
}

impl<'py> Input<'py> {
    fn new(data: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::until(data, usize::MAX)
    }

    /// No more than the first `end` bytes of what has to be copied.
    fn until(data: &Bound<'py, PyAny>, end: usize) -> PyResult<Self> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok(Input::Borrowed(bytes.clone()));
        }
        let buffer = PyBuffer::<u8>::get(data)?;
        let cells = cells(data.py(), &buffer)?;
        Ok(Input::Copied(cells[..end.min(cells.len())].iter().map(ReadOnlyCell::get).collect()))
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Input::Borrowed(bytes) => bytes.as_bytes(),
            Input::Copied(bytes) => bytes,
        }
    }
}

fn cells<'a, T: pyo3::buffer::Element>(py: Python<'a>, buffer: &'a PyBuffer<T>) -> PyResult<&'a [ReadOnlyCell<T>]> {
    buffer.as_slice(py).ok_or_else(|| PyValueError::new_err("expected a contiguous buffer"))
}

/// A buffer that Python code may hold and change while the GIL is not ours.
struct Cells<'a>(&'a [ReadOnlyCell<u8>]);

impl Bytes for Cells<'_> {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn at(&self, index: usize) -> u8 {
        self.0[index].get()
    }

    fn count(&self, byte: u8, start: usize, end: usize) -> usize {
        // Small sums of fixed length, so that they are added 16 at a time.
        let some = |cells: &[ReadOnlyCell<u8>]| cells.iter().fold(0u8, |sum, cell| sum + u8::from(cell.get() == byte));
        let blocks = self.0[start..end].chunks_exact(128);
        usize::from(some(blocks.remainder())) + blocks.map(|block| usize::from(some(block))).sum::<usize>()
    }
}

type Marks = (u8, Option<u8>, Option<u8>, Option<u8>);

fn dialect((delimiter, quote, escape, comment): Marks) -> Dialect {
    Dialect { delimiter, quote, escape, comment }
}

#[pyfunction]
#[pyo3(signature = (data, quote, end=None))]
fn find_boundary(data: &Bound<PyAny>, quote: Option<u8>, end: Option<usize>) -> PyResult<usize> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        let bytes = bytes.as_bytes();
        let stop = end.unwrap_or(bytes.len()).min(bytes.len());
        return Ok(data.py().detach(|| find(bytes, quote, stop)));
    }
    let buffer = PyBuffer::<u8>::get(data)?;
    let bytes = Cells(cells(data.py(), &buffer)?);
    let stop = end.unwrap_or(bytes.size()).min(bytes.size());
    Ok(find(&bytes, quote, stop))
}

#[pyfunction]
fn find_boundary_exact(data: &Bound<PyAny>, marks: Marks, end: Option<usize>, last: bool) -> PyResult<usize> {
    // One byte more than is searched tells whether a CR is half a line end.
    let input = Input::until(data, end.unwrap_or(usize::MAX).saturating_add(1))?;
    let bytes = input.bytes();
    let stop = end.unwrap_or(bytes.len()).min(bytes.len());
    Ok(data.py().detach(|| find_exact(bytes, &dialect(marks), stop, last)))
}

type Ends<'py> = Bound<'py, PyBytes>;
type Bad = (usize, usize, usize, usize, String);
type Encoded<'py> = (
    Bound<'py, PyBytes>,
    Ends<'py>,
    Option<(Bound<'py, PyBytes>, Ends<'py>)>,
    Ends<'py>,
    Ends<'py>,
    Vec<Bad>,
    usize,
    usize,
);

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
    encoded(data, marks, shown_delimiter, width, &keys, last, |task, values| encode::encode_json(task, &names, values))
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
    encode: impl FnOnce(&Task, Vec<u8>) -> Columns + Send,
) -> PyResult<Encoded<'py>> {
    let py = data.py();
    let input = Input::new(data)?;
    let data = input.bytes();
    if keys.iter().any(|key| *key >= width) {
        return Err(PyValueError::new_err(format!("key columns {keys:?} of {width} columns")));
    }
    let task = Task { data, dialect: dialect(marks), shown_delimiter, width, keys, last };
    let columns = py.detach(|| encode(&task, scratch::take(Use::Values)));
    if [data.len(), columns.filled, columns.keys.len()].iter().any(|size| u32::try_from(*size).is_err()) {
        return Err(PyOverflowError::new_err("a column of more than 4 GiB"));
    }
    let result = (
        PyBytes::new(py, &columns.values[..columns.filled]),
        ends(py, &columns.value_ends),
        (!keys.is_empty()).then(|| (PyBytes::new(py, &columns.keys), ends(py, &columns.key_ends))),
        ends(py, &columns.row_ends),
        ends(py, &columns.row_lines),
        columns.bad.into_iter().map(|row| (row.index, row.start, row.end, row.line, row.reason)).collect(),
        columns.end,
        columns.lines,
    );
    scratch::give_back(Use::Values, columns.values);
    Ok(result)
}

fn ends<'py>(py: Python<'py>, column: &[u32]) -> Ends<'py> {
    PyBytes::new(py, bytemuck::cast_slice(column))
}

/// Rows of a column that Python holds.
struct Held<'py> {
    data: Input<'py>,
    start: u32,
    ends: Vec<u32>,
}

impl<'py> Held<'py> {
    fn new(data: &Bound<'py, PyAny>, ends: &Bound<'py, PyAny>, first: usize, last: usize) -> PyResult<Self> {
        if last < first {
            return Err(PyValueError::new_err(format!("rows {first} to {last}")));
        }
        let before = first.saturating_sub(1);
        let mut wanted = numbers(ends, before, last)?;
        let start = if first == 0 { 0 } else { wanted[0] };
        wanted.drain(..usize::from(first > 0));
        Ok(Self { data: Input::new(data)?, start, ends: wanted })
    }

    fn column(&self) -> PyResult<Column<'_>> {
        Column::new(self.data.bytes(), self.start, &self.ends)
            .ok_or_else(|| PyValueError::new_err("ends that do not rise, or lie behind the data"))
    }
}

/// The numbers `first..last` of a column: a buffer of uint32, or (an empty array is not aligned) any sequence.
fn numbers(column: &Bound<PyAny>, first: usize, last: usize) -> PyResult<Vec<u32>> {
    let outside = |size| PyValueError::new_err(format!("rows {first} to {last} of {size}"));
    if let Ok(buffer) = PyBuffer::<u32>::get(column) {
        let all = cells(column.py(), &buffer)?;
        let wanted = all.get(first..last).ok_or_else(|| outside(all.len()))?;
        return Ok(wanted.iter().map(ReadOnlyCell::get).collect());
    }
    let all: Vec<u32> = column.extract()?;
    all.get(first..last).map(<[u32]>::to_vec).ok_or_else(|| outside(all.len()))
}

/// Keys and their ends, or None twice.
fn held_keys<'py>(
    keys: Option<&Bound<'py, PyAny>>,
    ends: Option<&Bound<'py, PyAny>>,
    first: usize,
    last: usize,
) -> PyResult<Option<Held<'py>>> {
    keys.zip(ends).map(|(keys, ends)| Held::new(keys, ends, first, last)).transpose()
}

#[pyfunction]
fn digest(
    values: &Bound<PyAny>,
    value_ends: &Bound<PyAny>,
    keys: Option<&Bound<PyAny>>,
    key_ends: Option<&Bound<PyAny>>,
    first: usize,
    last: usize,
) -> PyResult<u128> {
    let held = Held::new(values, value_ends, first, last)?;
    let held_keys = held_keys(keys, key_ends, first, last)?;
    let (rows, row_keys) = (held.column()?, held_keys.as_ref().map(Held::column).transpose()?);
    Ok(values.py().detach(|| hash::digest(&rows, row_keys.as_ref())))
}

#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "records as Python holds them are four columns")]
fn pack_batch<'py>(
    values: &Bound<'py, PyAny>,
    value_ends: &Bound<'py, PyAny>,
    keys: Option<&Bound<'py, PyAny>>,
    key_ends: Option<&Bound<'py, PyAny>>,
    first: usize,
    last: usize,
    codec: u8,
    level: Option<i32>,
) -> PyResult<Bound<'py, PyByteArray>> {
    let py = values.py();
    let codec = Codec::from_code(codec).ok_or_else(|| PyValueError::new_err("no such codec"))?;
    let held = Held::new(values, value_ends, first, last)?;
    let held_keys = held_keys(keys, key_ends, first, last)?;
    let (rows, row_keys) = (held.column()?, held_keys.as_ref().map(Held::column).transpose()?);
    let body = py.detach(|| Body::new(&rows, row_keys.as_ref()));
    if i32::try_from(body.size + HEADER_BYTES).is_err() {
        return Err(PyOverflowError::new_err("a record batch of more than 2 GiB"));
    }
    if codec == Codec::None {
        return PyByteArray::new_with(py, HEADER_BYTES + body.size, |batch| {
            py.detach(|| {
                body.write(&mut batch[HEADER_BYTES..]);
                pack::write_header(batch, rows.len(), codec);
            });
            Ok(())
        });
    }
    let (packed, size) = py.detach(|| pack::compressed(&body, codec, level)).map_err(PyValueError::new_err)?;
    let batch = PyByteArray::new(py, &packed[..size]);
    scratch::give_back(Use::Packed, packed);
    Ok(batch)
}

type RowHeaders<'py> = (usize, Vec<(Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>)>);
type Unpacked<'py> = (
    Bound<'py, PyBytes>,
    Ends<'py>,
    Option<(Bound<'py, PyBytes>, Ends<'py>)>,
    Ends<'py>,
    Vec<usize>,
    Vec<usize>,
    Vec<RowHeaders<'py>>,
);

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
        0 => Ok(Vec::new()),
        _ => py.detach(|| decompress(packed, codec, limit)),
    };
    let body = body.map_err(|fault| match fault {
        Fault::Undecodable(why) => Undecodable::new_err(why),
        Fault::TooLong => TooLong::new_err(()),
    })?;
    let rows = py.detach(|| unpack::unpack(&body, count)).ok_or_else(|| Malformed::new_err(()))?;
    let keyed = rows.null_keys.len() < rows.value_ends.len();
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    let headers = rows.headers.into_iter().map(|(row, headers)| {
        let headers = headers.into_iter().map(|(name, value)| (bytes(name), value.map(bytes)));
        (row, headers.collect())
    });
    Ok((
        bytes(&rows.values),
        ends(py, &rows.value_ends),
        keyed.then(|| (bytes(&rows.keys), ends(py, &rows.key_ends))),
        ends(py, &rows.deltas),
        rows.null_keys,
        rows.null_values,
        headers.collect(),
    ))
}

#[pymodule]
mod _rust {
    #[pymodule_export]
    use super::{
        digest, encode_json, encode_raw, find_boundary, find_boundary_exact, pack_batch, unpack_records, Malformed,
        TooLong, Undecodable,
    };
}
