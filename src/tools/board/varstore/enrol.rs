//! Secure Boot keys to the variables that make OVMF start in user mode, enforcing.
//!
//! Invariant: equal keys give equal bytes; the enrolment date is fixed.

use super::format::{ATTRIBUTES_AUTHENTICATED, ATTRIBUTES_BOOT};
use super::guid::{self, Guid};
use super::{Variable, VariableStore};

/// X.509 certificates in DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecureBootKeys {
    /// Whose keys these are, for whoever lists them: any fixed GUID of the vendor.
    pub owner: Guid,
    pub platform_key: Vec<u8>,
    pub key_exchange_key: Vec<u8>,
    /// Who may sign what the firmware starts.
    pub signature_db: Vec<u8>,
}

/// `EFI_TIME` of the enrolment, 2020-01-01 00:00:00: later updates of a key must carry a later time.
const ENROLLED: [u8; 16] = [0xe4, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Sets PK, KEK and db, and switches enforcement on.
pub fn enrol(store: &mut VariableStore, keys: &SecureBootKeys) {
    let lists = [
        (guid::GLOBAL_VARIABLE, "PK", &keys.platform_key),
        (guid::GLOBAL_VARIABLE, "KEK", &keys.key_exchange_key),
        (guid::IMAGE_SECURITY_DATABASE, "db", &keys.signature_db),
    ];
    for (vendor, name, certificate) in lists {
        let data = signature_list(certificate, keys.owner);
        let attributes = ATTRIBUTES_AUTHENTICATED;
        store.set(Variable { vendor, name: name.to_owned(), attributes, time: ENROLLED, data });
    }
    let switches = [(guid::SECURE_BOOT_ENABLE, "SecureBootEnable", 1), (guid::CUSTOM_MODE_ENABLE, "CustomMode", 0)];
    for (vendor, name, value) in switches {
        let attributes = ATTRIBUTES_BOOT;
        store.set(Variable { vendor, name: name.to_owned(), attributes, time: [0; 16], data: vec![value] });
    }
}

/// `EFI_SIGNATURE_LIST` with one X.509 certificate. UEFI 2.10 section 32.4.1.
pub fn signature_list(certificate_der: &[u8], owner: Guid) -> Vec<u8> {
    const HEADER_SIZE: usize = 28;
    let signature_size = 16 + certificate_der.len();
    let mut list = Vec::with_capacity(HEADER_SIZE + signature_size);
    list.extend(guid::CERT_X509.0);
    list.extend(((HEADER_SIZE + signature_size) as u32).to_le_bytes());
    list.extend(0u32.to_le_bytes());
    list.extend((signature_size as u32).to_le_bytes());
    list.extend(owner.0);
    list.extend(certificate_der);
    list
}

#[cfg(test)]
mod tests {
    use super::super::tests::empty_image;
    use super::*;
    use crate::model::Digest;

    #[test]
    fn enrolled_keys_are_signature_lists_and_the_bytes_are_pinned() {
        let mut store = VariableStore::read(empty_image(4096)).unwrap();
        let keys = SecureBootKeys {
            owner: Guid([9; 16]),
            platform_key: vec![1; 100],
            key_exchange_key: vec![2; 101],
            signature_db: vec![3; 102],
        };
        enrol(&mut store, &keys);
        let db = store.get(guid::IMAGE_SECURITY_DATABASE, "db").unwrap();
        assert_eq!(db.data.len(), 28 + 16 + 102);
        assert_eq!(db.data[44..], [3; 102]);
        let again = VariableStore::read(store.write().unwrap()).unwrap();
        assert_eq!(again.variables().len(), 5);
        let digest = Digest::of(&store.write().unwrap()).hex();
        assert_eq!(digest, "d17468cf8e93a3311fd2a0cb68051e4a8fb61e7cc8fb49b2107ef7eb6139a7db");
    }
}
