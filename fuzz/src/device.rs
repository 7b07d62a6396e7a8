//! What the agent reads on its own device before and after the root is verified: any bytes as each of them.

use osbuild_agent::wire::{efi_variable, CommandLine, Superblock};
use osbuild_format::device::DeviceConfig;
use osbuild_format::verity;

pub fn run(bytes: &[u8]) {
    if let Ok(config) = DeviceConfig::from_json(bytes) {
        let text = config.to_json().expect("what is valid can be written");
        assert_eq!(DeviceConfig::from_json(&text).expect("what is written can be read"), config);
    }
    if let Ok(superblock) = verity::Superblock::parse(bytes) {
        assert_eq!(verity::Superblock::parse(&superblock.to_bytes()), Ok(superblock));
    }
    if let Some(superblock) = Superblock::parse(bytes) {
        assert!(superblock.blocks.checked_mul(superblock.block_bytes).is_some(), "a size that overflows");
    }
    let _ = (efi_variable::switch(bytes), efi_variable::guid(bytes), efi_variable::microseconds(bytes));
    if let Ok(line) = CommandLine::parse(&String::from_utf8_lossy(bytes)) {
        assert!(line.root_hash.len() == 64 && line.root_hash.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let config = r#"{"format":1,"product":"p","version":"1.0.0","machine":"m","hostname":"h","console":"ttyS0","ntp_servers":["a.b"],
        "services":[{"name":"web","argv":["/bin/x","-f"],"user":"w","uid":1,"gid":1,"env":{"A":"b"},"after":["db"],"critical":true},
        {"name":"db","argv":["/bin/y"],"user":"d","uid":2,"gid":2,"restart":"on-failure","terminal":"/dev/ttyS0"}],
        "update":{"url":"https://a.b/u","window":{"from_minute":90,"to_minute":1},"full_download":"never","trial_boots":2,
        "signers":["abababababababababababababababababababababababababababababababab"],
        "health":[{"name":"net","argv":["/bin/x"],"timeout_seconds":9}]}}"#;
    assert!(DeviceConfig::from_json(config.as_bytes()).is_ok(), "the seed is no configuration");
    let superblock = verity::Superblock { uuid: [7; 16], data_blocks: 1234, salt: (0..32).collect() };
    let mut ext4 = vec![0; 1024];
    ext4[4..8].copy_from_slice(&16384_u32.to_le_bytes());
    ext4[0x18] = 2;
    ext4[0x38..0x3b].copy_from_slice(&[0x53, 0xef, 1]);
    let mut variable = vec![6, 0, 0, 0];
    variable.extend("01234567-89ab-cdef-0123-456789abcdef\0".encode_utf16().flat_map(u16::to_le_bytes));
    let line =
        format!("console=ttyS0 quiet osbuild.slot=b osbuild.root-blocks=9 x=\"a b\" roothash={}", "0a".repeat(32));
    vec![config.into(), superblock.to_bytes().to_vec(), ext4, variable, line.into_bytes()]
}
