//! Numbers and names, to one message of netlink with nested attributes (`linux/netlink.h`).
//!
//! Invariant: every length in the bytes is the length of what it stands before; attributes start at multiples of four.

pub const REQUEST: u16 = 0x1;
pub const ACK: u16 = 0x4;
pub const EXCLUSIVE: u16 = 0x200;
pub const CREATE: u16 = 0x400;
pub const HEADER_BYTES: usize = 16;
const NESTED: u16 = 1 << 15;

/// A message that is being written.
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// `fixed` is the family's own header, such as an `ifinfomsg`.
    pub fn new(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend([0; 4]);
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(fixed);
        let mut message = Message { bytes };
        message.pad();
        message
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.open(kind, |message| message.bytes.extend(value))
    }

    /// With the zero that ends it.
    pub fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        self.open(kind, |message| {
            message.bytes.extend(value.as_bytes());
            message.bytes.push(0);
        })
    }

    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.open(kind | NESTED, fill)
    }

    /// One that begins with a header of its own: veth's peer.
    pub fn nest_after(&mut self, kind: u16, fixed: &[u8], fill: impl FnOnce(&mut Self)) -> &mut Self {
        self.nest(kind, |message| {
            message.bytes.extend(fixed);
            message.pad();
            fill(message);
        })
    }

    fn open(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        // All that the agent writes is far shorter; a length that saturates is refused by the kernel.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub fn add_flags(&mut self, flags: u16) {
        let old = u16::from_ne_bytes([self.bytes[6], self.bytes[7]]);
        self.bytes[6..8].copy_from_slice(&(old | flags).to_ne_bytes());
    }

    pub fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_count_what_follows_and_not_the_padding_of_an_attribute() {
        let mut message = Message::new(16, REQUEST | ACK, 7, &[0; 16]);
        message.nest(18, |info| {
            info.text(1, "veth");
        });
        let bytes = message.finish();
        assert_eq!(bytes.len(), HEADER_BYTES + 16 + 4 + 12);
        assert_eq!(bytes[..4], 48u32.to_ne_bytes());
        assert_eq!(bytes[32..34], 16u16.to_ne_bytes());
        assert_eq!(bytes[36..38], 9u16.to_ne_bytes());
    }
}
