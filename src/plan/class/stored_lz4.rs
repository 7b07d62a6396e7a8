//! A compressor for the kernel's makefiles that compresses nothing: what goes in, as literals of an LZ4 frame.
//!
//! Source: "LZ4 Block Format Description" and "LZ4 Frame Format Description", section "Legacy frame". A kernel whose
//! bytes lie plain in its image changes where its source changed, and an update of it is as small. Invariant: the frame
//! is decoded by every reader of LZ4, to the bytes that went in.

/// Given to make.
pub(super) const MAKE_VARIABLE: &str = " LZ4='sh /work/stored-lz4'";

/// Each block is one sequence: a token, the length of its literals, the literals. The kernel's reader takes blocks of
/// 8 MiB, of which only the last may be smaller. The arguments, a level and two dashes, are of no use.
const SCRIPT: &str = r#"set -eu
plain=$(mktemp)
trap 'rm -f "$plain"' EXIT
cat > "$plain"
size=$(stat -c %s "$plain")
byte() { printf "\\$(printf %03o "$1")"; }
number() { for shift in 0 8 16 24; do byte $(($1 >> shift & 255)); done; }
number $((0x184c2102))
at=0
while [ "$at" -lt "$size" ]; do
    literals=$((size - at))
    [ "$literals" -le 8388608 ] || literals=8388608
    if [ "$literals" -lt 15 ]; then
        number $((1 + literals))
        byte $((literals << 4))
    else
        more=$((literals - 15))
        number $((2 + more / 255 + literals))
        byte 240
        head -c $((more / 255)) /dev/zero | tr '\0' '\377'
        byte $((more % 255))
    fi
    tail -c +$((at + 1)) "$plain" | head -c "$literals"
    at=$((at + literals))
done
"#;

/// Shell lines that leave the compressor where [`MAKE_VARIABLE`] says, and fail where the kernel would take another.
pub(super) fn write_script() -> String {
    format!(
        "grep -qx CONFIG_KERNEL_LZ4=y .config || {{\n\
         echo 'error: the machine keeps its kernel stored, which takes CONFIG_KERNEL_LZ4=y in a fragment; request it, or \
         write `kernel-compression: lz4` to keep what the fragments request' >&2\nexit 1\n}}\n\
         cat > /work/stored-lz4 <<'END_OF_COMPRESSOR'\n{SCRIPT}END_OF_COMPRESSOR\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    fn frame(plain: &[u8]) -> Vec<u8> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "stored-lz4", "-l", "-9", "-", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut output = shell.stdout.take().expect("its output");
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            output.read_to_end(&mut bytes).expect("read");
            bytes
        });
        shell.stdin.take().expect("its input").write_all(plain).expect("written");
        assert!(shell.wait().expect("it ends").success());
        reader.join().expect("a frame")
    }

    /// Decodes blocks that are one run of literals; anything else fails.
    fn decode(frame: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = frame.strip_prefix(&[0x02, 0x21, 0x4c, 0x18]).expect("the magic number");
        let mut blocks = Vec::new();
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (block, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            let (token, mut block) = (block[0], &block[1..]);
            let mut literals = usize::from(token >> 4);
            if literals == 15 {
                let mut byte = 255;
                while byte == 255 {
                    byte = block[0];
                    literals += usize::from(byte);
                    block = &block[1..];
                }
            }
            assert_eq!((token & 15, block.len()), (0, literals), "literals end a block");
            blocks.push(block.to_vec());
            rest = behind;
        }
        blocks
    }

    #[test]
    fn the_frame_holds_the_bytes_as_they_are() {
        let plain: Vec<u8> = (0u32..(8 << 20) + 3000).map(|n| (n.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
        for size in [0, 1, 14, 15, 16, 269, 270, 271, 3000, 8 << 20, (8 << 20) + 7, plain.len()] {
            let blocks = decode(&frame(&plain[..size]));
            assert!(blocks.iter().rev().skip(1).all(|block| block.len() == 8 << 20), "{size}");
            assert_eq!(blocks.iter().map(Vec::len).max().unwrap_or(0), size.min(8 << 20), "{size}");
            assert!(blocks.concat() == plain[..size], "{size}");
        }
    }
}
