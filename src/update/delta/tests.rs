//! Payloads of small images, made and applied.

use super::*;

/// Bytes without a pattern.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let next = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Some((*state >> 56) as u8)
    };
    std::iter::successors(Some(seed), |_| None)
        .flat_map(|mut state| (0..length).map_while(move |_| next(&mut state)))
        .collect()
}

fn applied(generated: &Generated, old: Option<&Images>) -> (Vec<u8>, Vec<u8>) {
    let (mut root, mut esp) = (Vec::new(), Vec::new());
    for (segment, stored) in &generated.segments {
        let written = Images { root: &root, esp: &esp };
        let sources = Sources { old: old.map(|old| old as &dyn Source), written: Some(&written) };
        let bytes = apply(segment, stored, sources).expect("applies");
        match segment.image {
            ImageName::Root => root.extend(bytes),
            ImageName::Esp => esp.extend(bytes),
        }
    }
    (root, esp)
}

fn stored(generated: &Generated) -> usize {
    generated.segments.iter().map(|(_, stored)| stored.len()).sum()
}

fn on_threads(count: usize, old: Option<&Images>, new: &Images) -> Generated {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(count).build().expect("a pool");
    pool.install(|| generate(old, new)).expect("generates")
}

/// Old and new: most bytes moved, some changed, some new, many zero.
fn images() -> (Vec<u8>, Vec<u8>) {
    let old = noise(1, 200_000);
    let mut changed = old[10_000..150_000].to_vec();
    changed.iter_mut().step_by(5000).for_each(|byte| *byte ^= 0x55);
    let new = [&old[180_000..], &changed, &noise(2, 3000), &[0; 10_000]].concat();
    (old, new)
}

#[test]
fn a_delta_gives_the_new_images_and_is_small() {
    let (old_root, new_root) = images();
    let (old_esp, new_esp) = (noise(3, 50_000), [noise(3, 40_000), noise(4, 1000)].concat());
    let (old, new) = (Images { root: &old_root, esp: &old_esp }, Images { root: &new_root, esp: &new_esp });
    let delta = on_threads(1, Some(&old), &new);
    assert_eq!(applied(&delta, Some(&old)), (new_root.clone(), new_esp.clone()));
    assert!(stored(&delta) < 4000 + 700, "{}", stored(&delta));
    assert_eq!(delta, on_threads(2, Some(&old), &new), "whatever the threads");
    let full = on_threads(2, None, &new);
    assert_eq!(applied(&full, None), (new_root, new_esp));
}

/// Images of three segments and more: whichever thread takes which of them, and whenever it is done. Some of each is in the old
/// image, some was written by a segment before, and some is new.
#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    const PART: usize = 200_000;
    let at = |length: usize, parts: &[(usize, &[u8])]| {
        let mut image = vec![0; length];
        parts.iter().for_each(|(start, part)| image[*start..start + part.len()].copy_from_slice(part));
        image
    };
    let part = |seed: u64| noise(seed, PART);
    let mut changed = part(31);
    changed.iter_mut().step_by(9000).for_each(|byte| *byte ^= 0x11);
    let mebibytes = |count: usize| count << 20;
    let old_root = at(mebibytes(18), &[(mebibytes(2), &part(31)), (mebibytes(12), &part(32))]);
    let root = at(
        mebibytes(18),
        &[(mebibytes(1), &part(32)), (mebibytes(3), &part(33)), (mebibytes(9), &changed), (mebibytes(17), &part(33))],
    );
    let esp = at(mebibytes(9), &[(mebibytes(5), &part(33)), (mebibytes(8), &part(34))]);
    let (old, new) = (Images { root: &old_root, esp: &esp[..1000] }, Images { root: &root, esp: &esp });
    for from in [Some(&old), None] {
        let one = on_threads(1, from, &new);
        assert!(one.segments.len() >= 5, "{} segments", one.segments.len());
        for threads in [2, 5] {
            assert!(on_threads(threads, from, &new) == one, "{threads} threads");
        }
        assert_eq!(applied(&one, from), (root.clone(), esp.clone()));
        // Twice and thrice the same noise is stored once.
        assert!(stored(&one) < 3 * PART + PART / 2 + usize::from(from.is_none()) * PART, "{}", stored(&one));
    }
}

/// As the ESPs of two versions: another signature, whose end looks like one of many records, and zeros up to the end.
#[test]
fn what_lies_where_it_did_is_not_taken_from_where_it_is_alike() {
    let records: Vec<u8> =
        (1..20_000_u32).flat_map(|n| [&n.wrapping_mul(2_654_435_761).to_le_bytes()[..], &[0; 60]].concat()).collect();
    let image = |signature: &[u8]| [&records[..], &noise(41, 300_000), signature, &[0; 1 << 20]].concat();
    let old_esp = image(&noise(42, 300));
    let new_esp = image(&[&noise(43, 296), &records[64 * 77..][..4]].concat());
    let (old, new) = (Images { root: &[], esp: &old_esp }, Images { root: &[], esp: &new_esp });
    let delta = on_threads(1, Some(&old), &new);
    assert!(applied(&delta, Some(&old)).1 == new_esp);
    assert!(stored(&delta) < 300 + 150, "{}", stored(&delta));
    assert_eq!(delta, on_threads(2, Some(&old), &new), "whatever the threads");
}

#[test]
fn images_that_have_nothing_in_common_cost_no_more_than_a_full_payload() {
    let (old_root, new_root) = (noise(5, 100_000), noise(6, 90_000));
    let (old, new) = (Images { root: &old_root, esp: b"old" }, Images { root: &new_root, esp: b"new" });
    let (delta, full) = (on_threads(1, Some(&old), &new), on_threads(1, None, &new));
    assert!(stored(&delta) <= stored(&full));
    assert_eq!(applied(&delta, Some(&old)), (new_root.clone(), b"new".to_vec()));
}

/// Old and new root that are hard on a generator.
fn adversaries() -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let base = noise(7, 1 << 20);
    let mut blocks: Vec<&[u8]> = base.chunks(16).collect();
    let mut state = 1usize;
    for at in (1..blocks.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        blocks.swap(at, (state >> 33) % (at + 1));
    }
    let shuffled = blocks.concat();
    let islands: Vec<u8> = (0..300_000u32).flat_map(|at| [[at as u8 | 1; 1].as_slice(), &[0; 256]].concat()).collect();
    let every_third: Vec<u8> = base.iter().zip(0..).map(|(byte, at)| byte ^ u8::from(at % 3 == 0)).collect();
    let programs: Vec<u8> =
        (0..2000).flat_map(|_| [b"\x7fELF\x02\x01\x01".as_slice(), &noise(9, 505)].concat()).collect();
    vec![
        ("nothing", Vec::new(), Vec::new()),
        ("one byte", vec![1], vec![2]),
        ("from nothing", Vec::new(), base.clone()),
        ("to nothing", base.clone(), Vec::new()),
        ("equal bytes", vec![0x55; 9 << 20], vec![0x55; 10 << 20]),
        ("a byte in each kilobyte of zeros", islands[1..].to_vec(), islands),
        ("blocks of 16 bytes in another order", base.clone(), shuffled),
        ("each third byte changed", base, every_third),
        ("headers of programs without programs", programs[512..].to_vec(), programs),
    ]
}

#[test]
fn what_is_hard_gives_segments_that_a_device_takes() {
    for (name, old, new) in adversaries() {
        let (old, new) = (Images { root: &old, esp: &[] }, Images { root: &new, esp: &[] });
        let delta = on_threads(2, Some(&old), &new);
        assert!(applied(&delta, Some(&old)).0 == new.root, "{name}");
        let full = on_threads(2, None, &new);
        assert!(applied(&full, None).0 == new.root, "{name}");
        assert!(stored(&delta) <= stored(&full), "{name}: {} and {}", stored(&delta), stored(&full));
    }
}

/// What a reader takes has to hold the other columns, too.
#[test]
fn literals_go_on_from_no_more_than_the_corrections_leave_room_for() {
    let old_root = noise(8, 4_700_000);
    let first = noise(9, LIMIT_OUTPUT_BYTES as usize);
    let mut wrong = old_root.clone();
    wrong[64..].chunks_mut(32).flat_map(|bytes| bytes.iter_mut().take(8)).for_each(|byte| *byte ^= 0x55);
    // The end of the first segment again, so that going on from it pays.
    let new_root = [&first[..], &first[7 << 20..], &noise(10, 2_600_000), &wrong].concat();
    let (old, new) = (Images { root: &old_root, esp: &[] }, Images { root: &new_root, esp: &[] });
    let delta = on_threads(2, Some(&old), &new);
    assert!(applied(&delta, Some(&old)).0 == new.root);
    assert!(stored(&delta) < first.len() + 3_800_000, "{}", stored(&delta));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]

    #[test]
    fn pieces_of_an_old_image_come_back(
        plan in proptest::collection::vec((0..5u8, 0..6000usize, 0..60_000usize), 0..40),
        seed in 0..1000u64,
    ) {
        let old_root = noise(seed, 60_000);
        let mut new_root = Vec::new();
        for (what, length, offset) in plan {
            let piece = &old_root[offset.min(60_000 - length)..][..length];
            match what {
                0 => new_root.extend_from_slice(piece),
                1 => new_root.extend(piece.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at % 50 == 0))),
                2 => new_root.resize(new_root.len() + length, 0),
                3 => new_root.extend(noise(offset as u64, length)),
                _ => new_root.extend(piece.iter().rev()),
            }
        }
        let (old, new) = (Images { root: &old_root, esp: &[] }, Images { root: &new_root, esp: &[] });
        let delta = generate(Some(&old), &new).expect("generates");
        proptest::prop_assert!(applied(&delta, Some(&old)).0 == new_root);
    }
}
