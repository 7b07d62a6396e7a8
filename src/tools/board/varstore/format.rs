//! The layout of EDK II's authenticated variable store inside its firmware volume.
//!
//! Sources: UEFI PI 1.8 volume 3 section 3.2 (firmware volume header) and EDK II
//! `MdeModulePkg/Include/Guid/VariableFormat.h`. Invariant: every number here is an offset or size in bytes.

use super::guid::Guid;

/// `gEfiSystemNvDataFvGuid`.
pub const FIRMWARE_VOLUME: Guid =
    Guid::new(0xfff12b8d, 0x7696, 0x4c8b, [0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50]);
/// `gEfiAuthenticatedVariableGuid`.
pub const AUTHENTICATED_STORE: Guid =
    Guid::new(0xaaf32c78, 0x947b, 0x439a, [0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92]);

pub const VOLUME_GUID: usize = 16;
pub const VOLUME_LENGTH: usize = 32;
pub const VOLUME_SIGNATURE: usize = 40;
pub const VOLUME_HEADER_LENGTH: usize = 48;
/// Up to the block map; a volume header is never shorter.
pub const VOLUME_HEADER_MINIMUM: usize = 56;

/// GUID, size, format, state and two reserved fields.
pub const STORE_HEADER_SIZE: usize = 28;
pub const STORE_SIZE: usize = 16;
pub const STORE_FORMAT: usize = 20;
pub const STORE_STATE: usize = 21;
pub const STORE_FORMATTED: u8 = 0x5a;
pub const STORE_HEALTHY: u8 = 0xfe;

/// `AUTHENTICATED_VARIABLE_HEADER`.
pub const VARIABLE_HEADER_SIZE: usize = 60;
pub const VARIABLE_START: u16 = 0x55aa;
pub const VARIABLE_STATE: usize = 2;
pub const VARIABLE_ATTRIBUTES: usize = 4;
pub const VARIABLE_TIME: usize = 16;
pub const VARIABLE_NAME_SIZE: usize = 36;
pub const VARIABLE_DATA_SIZE: usize = 40;
pub const VARIABLE_VENDOR: usize = 44;
/// A variable starts at a multiple of this, counted from the start of the volume.
pub const VARIABLE_ALIGNMENT: usize = 4;
/// `VAR_ADDED`: whole and current.
pub const STATE_ADDED: u8 = 0x3f;
/// `VAR_ADDED & VAR_IN_DELETED_TRANSITION`: current unless a newer copy stands beside it.
pub const STATE_IN_TRANSITION: u8 = 0x3e;
/// Flash that nothing was written to.
pub const ERASED: u8 = 0xff;

/// `EFI_VARIABLE_NON_VOLATILE | BOOTSERVICE_ACCESS`.
pub const ATTRIBUTES_BOOT: u32 = 0x3;
/// `NON_VOLATILE | BOOTSERVICE_ACCESS | RUNTIME_ACCESS`.
pub const ATTRIBUTES_RUNTIME: u32 = 0x7;
/// The same and `TIME_BASED_AUTHENTICATED_WRITE_ACCESS`.
pub const ATTRIBUTES_AUTHENTICATED: u32 = 0x27;

pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(offset..offset.checked_add(2)?)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(offset..offset.checked_add(4)?)?.try_into().ok()?))
}

pub fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(offset..offset.checked_add(8)?)?.try_into().ok()?))
}

pub fn guid_at(bytes: &[u8], offset: usize) -> Option<Guid> {
    Some(Guid(bytes.get(offset..offset.checked_add(16)?)?.try_into().ok()?))
}
