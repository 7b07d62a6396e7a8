//! The EFI variables of a virtual board: the bytes of `OVMF_VARS_4M.fd` to variables, and back.
//!
//! Invariant: reading takes any bytes without a panic and within their own size; what is written is read
//! back equal, and everything outside the variable area stays as it was.

pub mod boot;
pub mod enrol;
pub mod format;
pub mod guid;
mod read;
mod write;

pub use enrol::{enrol, SecureBootKeys};
pub use guid::Guid;

use std::ops::Range;

/// A firmware image larger than this is refused.
pub const LIMIT_BYTES: usize = 16 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VarstoreError {
    #[error("the EFI variable image has {0} bytes, more than the limit of {LIMIT_BYTES}")]
    TooLarge(usize),
    #[error("not an EFI variable image: {0}")]
    NotAStore(&'static str),
    #[error("the EFI variable at offset {offset} is damaged: {reason}")]
    DamagedVariable { offset: usize, reason: &'static str },
    #[error("the EFI variables need {needed} bytes, but the store holds {available}")]
    Full { needed: usize, available: usize },
}

/// One variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub vendor: Guid,
    pub name: String,
    pub attributes: u32,
    /// `EFI_TIME` of an authenticated variable; zeros otherwise.
    pub time: [u8; 16],
    pub data: Vec<u8>,
}

/// A variable image: the bytes of its flash and the variables in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableStore {
    image: Vec<u8>,
    /// Where variables lie in `image`; both ends are inside it.
    area: Range<usize>,
    variables: Vec<Variable>,
}

impl VariableStore {
    /// In the order in which they lie in flash.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub fn get(&self, vendor: Guid, name: &str) -> Option<&Variable> {
        self.variables.iter().find(|v| v.vendor == vendor && v.name == name)
    }

    /// Adds or replaces the variable of that vendor and name.
    pub fn set(&mut self, variable: Variable) {
        match self.variables.iter_mut().find(|v| v.vendor == variable.vendor && v.name == variable.name) {
            Some(present) => *present = variable,
            None => self.variables.push(variable),
        }
    }

    pub fn remove(&mut self, vendor: Guid, name: &str) {
        self.variables.retain(|v| v.vendor != vendor || v.name != name);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::format::*;
    use super::*;
    use proptest::prelude::*;

    /// An empty store like OVMF's, with room for `area_bytes` of variables and 256 bytes behind them.
    pub fn empty_image(area_bytes: usize) -> Vec<u8> {
        let start = 0x48 + STORE_HEADER_SIZE;
        let mut image = vec![ERASED; start + area_bytes + 256];
        let length = image.len() as u64;
        image[..0x48].fill(0);
        image[VOLUME_GUID..VOLUME_GUID + 16].copy_from_slice(&FIRMWARE_VOLUME.0);
        image[VOLUME_LENGTH..VOLUME_LENGTH + 8].copy_from_slice(&length.to_le_bytes());
        image[VOLUME_SIGNATURE..VOLUME_SIGNATURE + 4].copy_from_slice(b"_FVH");
        image[VOLUME_HEADER_LENGTH..VOLUME_HEADER_LENGTH + 2].copy_from_slice(&0x48u16.to_le_bytes());
        image[0x48..0x58].copy_from_slice(&AUTHENTICATED_STORE.0);
        let size = (area_bytes + STORE_HEADER_SIZE) as u32;
        image[0x58..0x5c].copy_from_slice(&size.to_le_bytes());
        image[0x5c] = STORE_FORMATTED;
        image[0x5d] = STORE_HEALTHY;
        image
    }

    fn any_variable() -> impl Strategy<Value = Variable> {
        let data = prop::collection::vec(any::<u8>(), 1..200);
        (any::<[u8; 16]>(), "[a-zA-Z0-9äß]{1,20}", any::<u32>(), any::<[u8; 16]>(), data).prop_map(
            |(vendor, name, attributes, time, data)| Variable { vendor: Guid(vendor), name, attributes, time, data },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(variables in prop::collection::vec(any_variable(), 0..12)) {
            let mut store = VariableStore::read(empty_image(8192)).unwrap();
            for variable in variables {
                store.set(variable);
            }
            let image = store.write().unwrap();
            let again = VariableStore::read(image.clone()).unwrap();
            prop_assert_eq!(again.variables(), store.variables());
            prop_assert_eq!(&image[image.len() - 256..], &[ERASED; 256][..]);
        }

        #[test]
        fn damaged_bytes_never_panic(
            variables in prop::collection::vec(any_variable(), 1..6),
            flips in prop::collection::vec((0usize..2048, any::<u8>()), 1..20),
            cut in 0usize..2600,
        ) {
            let mut store = VariableStore::read(empty_image(2048)).unwrap();
            variables.into_iter().for_each(|v| store.set(v));
            let Ok(mut image) = store.write() else { return Ok(()) };
            for (offset, value) in flips {
                image[offset] = value;
            }
            image.truncate(cut.max(1));
            if let Ok(store) = VariableStore::read(image) {
                prop_assert!(store.variables().len() <= 2600 / VARIABLE_HEADER_SIZE);
            }
        }
    }

    #[test]
    fn a_full_store_is_an_error_with_both_sizes() {
        let mut store = VariableStore::read(empty_image(128)).unwrap();
        let data = vec![7; 200];
        store.set(Variable { vendor: Guid([1; 16]), name: "x".into(), attributes: 7, time: [0; 16], data });
        assert_eq!(store.write(), Err(VarstoreError::Full { needed: 264, available: 128 }));
    }

    #[test]
    fn other_images_are_refused() {
        assert!(VariableStore::read(vec![0; 4096]).is_err());
        assert!(VariableStore::read(Vec::new()).is_err());
        assert_eq!(
            VariableStore::read(vec![0; LIMIT_BYTES + 1]).unwrap_err(),
            VarstoreError::TooLarge(LIMIT_BYTES + 1)
        );
    }
}
