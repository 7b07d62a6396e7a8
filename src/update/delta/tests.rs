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
        let bytes = apply(segment, stored, old.map(|old| old as &dyn Source)).expect("applies");
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

#[test]
fn images_that_have_nothing_in_common_cost_no_more_than_a_full_payload() {
    let (old_root, new_root) = (noise(5, 100_000), noise(6, 90_000));
    let (old, new) = (Images { root: &old_root, esp: b"old" }, Images { root: &new_root, esp: b"new" });
    let (delta, full) = (on_threads(1, Some(&old), &new), on_threads(1, None, &new));
    assert!(stored(&delta) <= stored(&full));
    assert_eq!(applied(&delta, Some(&old)), (new_root.clone(), b"new".to_vec()));
}
