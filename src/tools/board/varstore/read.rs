//! Flash bytes to variables.
//!
//! Invariant: a copy that a newer one replaced, or that was never completed, is not reported.

use super::format::*;
use super::{Variable, VariableStore, VarstoreError, LIMIT_BYTES};
use std::ops::Range;

impl VariableStore {
    /// Reads a firmware volume that holds an authenticated variable store.
    pub fn read(image: Vec<u8>) -> Result<VariableStore, VarstoreError> {
        let area = variable_area(&image)?;
        let variables = read_variables(&image, &area)?;
        Ok(VariableStore { image, area, variables })
    }
}

fn variable_area(image: &[u8]) -> Result<Range<usize>, VarstoreError> {
    use VarstoreError::NotAStore;
    if image.len() > LIMIT_BYTES {
        return Err(VarstoreError::TooLarge(image.len()));
    }
    if guid_at(image, VOLUME_GUID) != Some(FIRMWARE_VOLUME)
        || image.get(VOLUME_SIGNATURE..VOLUME_SIGNATURE + 4) != Some(b"_FVH".as_slice())
    {
        return Err(NotAStore("it does not start with a firmware volume for variables"));
    }
    if u64_at(image, VOLUME_LENGTH).is_none_or(|length| length > image.len() as u64) {
        return Err(NotAStore("the firmware volume is longer than the file"));
    }
    let store = u16_at(image, VOLUME_HEADER_LENGTH).map_or(0, usize::from);
    if store < VOLUME_HEADER_MINIMUM {
        return Err(NotAStore("the firmware volume header is too short"));
    }
    if guid_at(image, store) != Some(AUTHENTICATED_STORE) {
        return Err(NotAStore("the volume holds no authenticated variable store"));
    }
    if image.get(store + STORE_FORMAT) != Some(&STORE_FORMATTED)
        || image.get(store + STORE_STATE) != Some(&STORE_HEALTHY)
    {
        return Err(NotAStore("the variable store is not formatted or not healthy"));
    }
    let size = u32_at(image, store + STORE_SIZE).map_or(0, |size| size as usize);
    let area = store + STORE_HEADER_SIZE..store + size;
    if size < STORE_HEADER_SIZE || area.end > image.len() {
        return Err(NotAStore("the variable store is longer than the file"));
    }
    Ok(area)
}

fn read_variables(image: &[u8], area: &Range<usize>) -> Result<Vec<Variable>, VarstoreError> {
    let mut current: Vec<Variable> = Vec::new();
    let mut in_transition = Vec::new();
    let mut offset = area.start;
    while offset + VARIABLE_HEADER_SIZE <= area.end && u16_at(image, offset) == Some(VARIABLE_START) {
        let header = &image[offset..offset + VARIABLE_HEADER_SIZE];
        let damaged = |reason| VarstoreError::DamagedVariable { offset, reason };
        let end = variable_end(header, offset).filter(|end| *end <= area.end);
        let end = end.ok_or(damaged("it is longer than the store"))?;
        match header[VARIABLE_STATE] {
            STATE_ADDED => current.push(read_variable(header, &image[..end], offset).map_err(damaged)?),
            STATE_IN_TRANSITION => in_transition.push(read_variable(header, &image[..end], offset).map_err(damaged)?),
            _ => {}
        }
        offset = end.next_multiple_of(VARIABLE_ALIGNMENT);
    }
    // Power failed between writing the new copy and deleting the old one: the new one, if whole, wins.
    for old in in_transition {
        if !current.iter().any(|v| v.vendor == old.vendor && v.name == old.name) {
            current.push(old);
        }
    }
    Ok(current)
}

fn variable_end(header: &[u8], offset: usize) -> Option<usize> {
    let name_size = u32_at(header, VARIABLE_NAME_SIZE)? as usize;
    let data_size = u32_at(header, VARIABLE_DATA_SIZE)? as usize;
    offset.checked_add(VARIABLE_HEADER_SIZE)?.checked_add(name_size)?.checked_add(data_size)
}

/// `until` is the image up to the variable's last byte.
fn read_variable(header: &[u8], until: &[u8], offset: usize) -> Result<Variable, &'static str> {
    let field = |at| u32_at(header, at).ok_or("its header is cut short");
    let name_start = offset + VARIABLE_HEADER_SIZE;
    let data_start = name_start + field(VARIABLE_NAME_SIZE)? as usize;
    let units: Vec<u16> =
        until[name_start..data_start].chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let (0, name) = units.split_last().ok_or("its name is empty")? else {
        return Err("its name does not end with a NUL");
    };
    Ok(Variable {
        vendor: guid_at(header, VARIABLE_VENDOR).ok_or("its header is cut short")?,
        name: String::from_utf16(name).map_err(|_| "its name is not UTF-16")?,
        attributes: field(VARIABLE_ATTRIBUTES)?,
        time: guid_at(header, VARIABLE_TIME).ok_or("its header is cut short")?.0,
        data: until[data_start..].to_vec(),
    })
}
