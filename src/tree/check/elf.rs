//! An ELF file's bytes in, what it needs to run out.
//!
//! Source: System V ABI, chapter 5. Invariant: no bytes make the reader panic; lists are bounded.

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::read::StringTable;
use object::Endianness;

/// Libraries and search paths that one file may name.
const LIMIT_NAMES: usize = 1024;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// `e_machine`; none for object files, which are not run.
    pub machine: Option<u16>,
    /// It can be loaded at one address only.
    pub is_fixed: bool,
    /// It asks for memory that can be written and executed both: a segment, or the stack.
    pub runs_what_it_writes: bool,
    pub interpreter: Option<String>,
    pub libraries: Vec<String>,
    /// Folders of DT_RPATH and DT_RUNPATH, as written.
    pub search: Vec<String>,
}

/// The `e_machine` of programs for `cpu`, as in GNU triplets.
pub fn machine_of(cpu: &str) -> Option<u16> {
    match cpu {
        "x86_64" => Some(elf::EM_X86_64),
        "aarch64" => Some(elf::EM_AARCH64),
        _ => None,
    }
}

/// None when the bytes are not an ELF file at all; the error says what is broken.
pub fn needs(bytes: &[u8]) -> Option<Result<Needs, String>> {
    if !bytes.starts_with(&elf::ELFMAG) {
        return None;
    }
    let result = match bytes.get(4) {
        Some(&elf::ELFCLASS64) => read::<elf::FileHeader64<Endianness>>(bytes),
        Some(&elf::ELFCLASS32) => read::<elf::FileHeader32<Endianness>>(bytes),
        _ => return Some(Err("its class is neither 32 nor 64 bits".to_owned())),
    };
    Some(result.map_err(|error| error.to_string()))
}

fn read<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> object::Result<Needs> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let mut needs = Needs::default();
    if matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        needs.machine = Some(header.e_machine(endian));
        needs.is_fixed = header.e_type(endian) == elf::ET_EXEC;
    }
    let segments = header.program_headers(endian, bytes)?;
    for segment in segments {
        let (kind, rights) = (segment.p_type(endian), segment.p_flags(endian));
        let is_open = rights & elf::PF_W != 0 && rights & elf::PF_X != 0;
        needs.runs_what_it_writes |= is_open && matches!(kind, elf::PT_LOAD | elf::PT_GNU_STACK);
        if let Some(interpreter) = segment.interpreter(endian, bytes)? {
            needs.interpreter = Some(text(interpreter));
        }
        if let Some(dynamic) = segment.dynamic(endian, bytes)? {
            read_dynamic::<Elf>(bytes, endian, segments, dynamic, &mut needs)?;
        }
    }
    Ok(needs)
}

fn read_dynamic<Elf: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
    endian: Endianness,
    segments: &[Elf::ProgramHeader],
    dynamic: &[Elf::Dyn],
    needs: &mut Needs,
) -> object::Result<()> {
    let tag = |entry: &Elf::Dyn| -> i64 { entry.d_tag(endian).into() };
    let entries = || dynamic.iter().take_while(|entry| tag(entry) != elf::DT_NULL);
    let value = |wanted: i64| entries().find(|entry| tag(entry) == wanted).map(|entry| entry.d_val(endian).into());
    let (Some(address), Some(size)) = (value(elf::DT_STRTAB), value(elf::DT_STRSZ)) else {
        return Ok(());
    };
    let Some(start) = file_offset::<Elf>(endian, segments, address) else { return Ok(()) };
    let strings: StringTable<'_, &[u8]> = StringTable::new(bytes, start, start.saturating_add(size));
    for entry in entries().take(LIMIT_NAMES) {
        let is_library = tag(entry) == elf::DT_NEEDED;
        let is_search = tag(entry) == elf::DT_RPATH || tag(entry) == elf::DT_RUNPATH;
        if is_library || is_search {
            let string = text(entry.string(endian, strings)?);
            match is_library {
                true => needs.libraries.push(string),
                false => needs.search.extend(string.split(':').map(str::to_owned)),
            }
        }
    }
    needs.search.truncate(LIMIT_NAMES);
    Ok(())
}

/// Where the byte that is loaded at `address` lies in the file.
fn file_offset<Elf: FileHeader<Endian = Endianness>>(
    endian: Endianness,
    segments: &[Elf::ProgramHeader],
    address: u64,
) -> Option<u64> {
    segments.iter().find_map(|segment| {
        let start: u64 = segment.p_vaddr(endian).into();
        let size: u64 = segment.p_filesz(endian).into();
        let below = address.checked_sub(start)?;
        let is_inside = segment.p_type(endian) == elf::PT_LOAD && below < size;
        if is_inside {
            segment.p_offset(endian).into().checked_add(below)
        } else {
            None
        }
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The program that runs this test: a dynamic executable of the host.
    #[allow(clippy::disallowed_methods)]
    fn own_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().expect("a path")).expect("its own program")
    }

    #[test]
    fn a_real_program_names_its_interpreter_and_libraries() {
        let needs = needs(&own_program()).expect("an ELF file").expect("a valid one");
        assert_eq!(needs.machine, machine_of(std::env::consts::ARCH));
        assert!(needs.interpreter.expect("it is dynamic").contains("/ld-"));
        assert!(needs.libraries.iter().any(|name| name.starts_with("libc.")), "{:?}", needs.libraries);
    }

    #[test]
    fn a_stack_that_can_be_executed_is_seen() {
        let mut program = own_program();
        let is_open = |bytes: &[u8]| needs(bytes).expect("an ELF file").expect("a valid one").runs_what_it_writes;
        assert!(!is_open(&program));
        // PT_GNU_STACK with PF_R and PF_W, as compilers write it.
        let stack = [0x51, 0xe5, 0x74, 0x64, 6, 0, 0, 0];
        let at = program[..4096].windows(8).position(|bytes| bytes == stack).expect("a stack");
        program[at + 4] = 7;
        assert!(is_open(&program));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(mut bytes: Vec<u8>, class in 0_u8..4) {
            bytes.splice(0..0, [0x7f, b'E', b'L', b'F', class, 1, 1]);
            let _ = needs(&bytes);
        }

        #[test]
        fn no_damage_makes_the_reader_panic(changes in proptest::collection::vec((0_usize..2048, any::<u8>()), 1..20)) {
            static PROGRAM: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
            let program = PROGRAM.get_or_init(own_program);
            let mut bytes = program[..program.len().min(1 << 16)].to_vec();
            for (at, value) in changes {
                bytes[at] = value;
            }
            let _ = needs(&bytes);
        }
    }
}
