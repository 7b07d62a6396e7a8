//! A column to a zstd frame.
//!
//! Invariant: the frame's window is no larger than its content, and the same bytes give the same frame.

use super::DeltaError;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// 8 MiB.
const WINDOW_LOG: u32 = 23;
const LEVEL: i32 = 22;

pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let compressed = || {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        compressor.compress(bytes)
    };
    compressed().map_err(DeltaError::Compress)
}
