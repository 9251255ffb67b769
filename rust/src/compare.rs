//! Are two stretches of rows the same? See `_python/compare.py`.

use crate::held::Selection;

/// How many rows are equal, key and value, up to the first that differs. Rows without keys equal only such.
pub fn equal_rows(a: &Selection, b: &Selection) -> usize {
    let mut values = a.values.rows().zip(b.values.rows());
    let differs = match (&a.keys, &b.keys) {
        (None, None) => values.position(|(one, other)| one != other),
        (Some(keys), Some(others)) => values
            .zip(keys.rows().zip(others.rows()))
            .position(|((one, other), (key, other_key))| one != other || key != other_key),
        _ => Some(0),
    };
    differs.unwrap_or(a.values.len().min(b.values.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::held::Column;

    fn rows<'a>(values: &'a [u8], ends: &'a [u32], keys: bool) -> Selection<'a> {
        let column = Column::new(values, 0, ends).unwrap();
        Selection { values: column, keys: keys.then_some(column) }
    }

    #[test]
    fn up_to_the_first_that_differs() {
        let all = rows(b"onetwo", &[3, 6], false);
        assert_eq!(equal_rows(&all, &all), 2);
        assert_eq!(equal_rows(&all, &rows(b"onetwi", &[3, 6], false)), 1);
        assert_eq!(equal_rows(&all, &rows(b"onetwo", &[2, 6], false)), 0);
        assert_eq!(equal_rows(&all, &rows(b"onetwo", &[3, 6], true)), 0);
        let keyed = rows(b"onetwo", &[3, 6], true);
        assert_eq!(equal_rows(&keyed, &keyed), 2);
    }
}
