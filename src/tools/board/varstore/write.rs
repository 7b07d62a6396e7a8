//! Variables to flash bytes.
//!
//! Invariant: the same variables in the same order give the same bytes; the rest of the area is erased.

use super::format::*;
use super::{Variable, VariableStore, VarstoreError};

impl VariableStore {
    /// The whole image, with the variable area written anew.
    pub fn write(&self) -> Result<Vec<u8>, VarstoreError> {
        let mut area = Vec::new();
        for variable in &self.variables {
            append(&mut area, self.area.start, variable);
        }
        if area.len() > self.area.len() {
            return Err(VarstoreError::Full { needed: area.len(), available: self.area.len() });
        }
        area.resize(self.area.len(), ERASED);
        let mut image = self.image.clone();
        image[self.area.clone()].copy_from_slice(&area);
        Ok(image)
    }
}

fn append(area: &mut Vec<u8>, area_start: usize, variable: &Variable) {
    let name: Vec<u8> = variable.name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    area.extend(VARIABLE_START.to_le_bytes());
    area.extend([STATE_ADDED, 0]);
    area.extend(variable.attributes.to_le_bytes());
    // Monotonic count: unused since authentication goes by time.
    area.extend(0u64.to_le_bytes());
    area.extend(variable.time);
    // Index of a public key: unused for the same reason.
    area.extend(0u32.to_le_bytes());
    area.extend((name.len() as u32).to_le_bytes());
    area.extend((variable.data.len() as u32).to_le_bytes());
    area.extend(variable.vendor.0);
    area.extend(name);
    area.extend(&variable.data);
    let end = (area_start + area.len()).next_multiple_of(VARIABLE_ALIGNMENT);
    area.resize(end - area_start, ERASED);
}
