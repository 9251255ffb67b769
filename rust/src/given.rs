//! What Python gives: bytes, and rows as columns or as they are held here.

use pyo3::buffer::{PyBuffer, ReadOnlyCell};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::held::{Column, Held, Selection};
use crate::python::Rows;

/// Bytes of Python's, borrowed where nobody can change them, else copied.
pub enum Input<'py> {
    Borrowed(Bound<'py, PyBytes>),
    Copied(Vec<u8>),
}

impl<'py> Input<'py> {
    pub fn new(data: &Bound<'py, PyAny>) -> PyResult<Self> {
        Self::until(data, usize::MAX)
    }

    /// No more than the first `end` bytes of what has to be copied.
    pub fn until(data: &Bound<'py, PyAny>, end: usize) -> PyResult<Self> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok(Input::Borrowed(bytes.clone()));
        }
        let buffer = PyBuffer::<u8>::get(data)?;
        let cells = cells(data.py(), &buffer)?;
        Ok(Input::Copied(cells[..end.min(cells.len())].iter().map(ReadOnlyCell::get).collect()))
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Input::Borrowed(bytes) => bytes.as_bytes(),
            Input::Copied(bytes) => bytes,
        }
    }
}

pub fn cells<'a, T: pyo3::buffer::Element>(py: Python<'a>, buffer: &'a PyBuffer<T>) -> PyResult<&'a [ReadOnlyCell<T>]> {
    buffer.as_slice(py).ok_or_else(|| PyValueError::new_err("expected a contiguous buffer"))
}

/// Rows as Python has them: `Rows`, or a tuple of values, their ends, keys and their ends.
pub enum Given<'py> {
    Held(Bound<'py, Rows>),
    Plain(Plain<'py>, Option<Plain<'py>>),
}

impl<'py> Given<'py> {
    /// For the rows `first` to `last`; of others no more is taken than is needed.
    pub fn new(rows: &Bound<'py, PyAny>, first: usize, last: usize) -> PyResult<Self> {
        if last < first {
            return Err(PyValueError::new_err(format!("rows {first} to {last}")));
        }
        if let Ok(rows) = rows.cast::<Rows>() {
            return Ok(Given::Held(rows.clone()));
        }
        type Columns<'py> =
            (Bound<'py, PyAny>, Bound<'py, PyAny>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);
        let (values, value_ends, keys, key_ends): Columns = rows.extract()?;
        let keys = keys.zip(key_ends).map(|(keys, ends)| Plain::new(&keys, &ends, first, last));
        Ok(Given::Plain(Plain::new(&values, &value_ends, first, last)?, keys.transpose()?))
    }

    pub fn held(&self) -> Option<&Held> {
        match self {
            Given::Held(rows) => Some(&rows.get().0),
            Given::Plain(..) => None,
        }
    }

    pub fn rows(&self, first: usize, last: usize) -> PyResult<Selection<'_>> {
        match self {
            Given::Held(rows) => {
                let held = &rows.get().0;
                held.rows(first, last).ok_or_else(|| outside(first, last, held.count))
            }
            Given::Plain(values, keys) => {
                Ok(Selection { values: values.column()?, keys: keys.as_ref().map(Plain::column).transpose()? })
            }
        }
    }
}

fn outside(first: usize, last: usize, count: usize) -> PyErr {
    PyValueError::new_err(format!("rows {first} to {last} of {count}"))
}

/// Some rows of a column that Python holds, side by side.
pub struct Plain<'py> {
    data: Input<'py>,
    start: u32,
    ends: Vec<u32>,
}

impl<'py> Plain<'py> {
    fn new(data: &Bound<'py, PyAny>, ends: &Bound<'py, PyAny>, first: usize, last: usize) -> PyResult<Self> {
        let before = first.saturating_sub(1);
        let mut wanted = numbers(ends, before, last)?;
        let start = if first == 0 { 0 } else { *wanted.first().ok_or_else(|| outside(first, last, 0))? };
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
    if let Ok(buffer) = PyBuffer::<u32>::get(column) {
        let all = cells(column.py(), &buffer)?;
        let wanted = all.get(first..last).ok_or_else(|| outside(first, last, all.len()))?;
        return Ok(wanted.iter().map(ReadOnlyCell::get).collect());
    }
    let all: Vec<u32> = column.extract()?;
    all.get(first..last).map(<[u32]>::to_vec).ok_or_else(|| outside(first, last, all.len()))
}
