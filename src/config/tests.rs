use super::*;

/// The project that this repository is.
#[test]
fn our_own_layers_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for product in [None, Some("gateway"), Some("gateway-dev")] {
        if let Err(problems) = load(root, product) {
            panic!("{problems}");
        }
    }
}
