//! A hash of rows that combines: see `ContentHash` in `csv2kafka/model/state.py`.

use xxhash_rust::xxh3::{xxh3_128, xxh3_128_with_seed, xxh3_64};

use crate::held::Selection;

const MULTIPLIER: u128 = 0x2D35_8DCC_AA6C_78A5_8BB8_4B93_962E_ACC9;

/// The hash of the rows, for `ContentHash.extend`.
pub fn digest(rows: &Selection) -> u128 {
    let fold = |hash: u128, row: u128| hash.wrapping_mul(MULTIPLIER).wrapping_add(row);
    let values = rows.values.rows();
    match &rows.keys {
        None => values.map(xxh3_128).fold(0, fold),
        Some(keys) => values.zip(keys.rows()).map(|(value, key)| xxh3_128_with_seed(value, xxh3_64(key))).fold(0, fold),
    }
}
