//! A column to a zstd frame.
//!
//! Invariant: the frame's window is no larger than its content, or than 8 MiB where it goes on from something; the same bytes
//! give the same frame.

use super::DeltaError;
use std::io::Write;
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// 8 MiB.
const WINDOW_LOG: u32 = 23;
const LEVEL: i32 = 22;
/// Of tables, below which none is worth a thought.
const LEAST_LOG: u32 = 16;

pub fn compress(bytes: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let compressed = || {
        let mut compressor = Compressor::new(LEVEL)?;
        compressor.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        compressor.set_parameter(CParameter::ChecksumFlag(false))?;
        compressor.compress(bytes)
    };
    compressed().map_err(DeltaError::Compress)
}

/// A frame that goes on from `before`; both together have at most 8 MiB.
pub fn compress_after(before: &[u8], bytes: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let compressed = || {
        let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), LEVEL, before)?;
        encoder.window_log(WINDOW_LOG)?;
        // The length is not known to it; more than two entries for each byte cost memory and time, and find nothing.
        let log = (before.len() + bytes.len()).next_power_of_two().ilog2().clamp(LEAST_LOG, WINDOW_LOG);
        encoder.set_parameter(CParameter::ChainLog(log + 1))?;
        encoder.set_parameter(CParameter::HashLog(log))?;
        encoder.include_checksum(false)?;
        encoder.include_contentsize(false)?;
        encoder.write_all(bytes)?;
        encoder.finish()
    };
    compressed().map_err(DeltaError::Compress)
}
