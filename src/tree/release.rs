//! The product in, `/usr/lib/os-release` out.
//!
//! Source: os-release(5). Invariant: every value is quoted so that shells and parsers read it alike.

use super::parameters::Product;

/// What a signed image says it is, by the fields that the manifest has too: name and value as between the quotes.
pub fn os_release_text(product: &str, version: &str, machine: &str) -> [(&'static str, String); 3] {
    [("IMAGE_ID", escaped(&id(product))), ("IMAGE_VERSION", escaped(version)), ("VARIANT_ID", escaped(machine))]
}

/// IDs may hold a-z, 0-9, `.`, `_` and `-`, which leaves `+` out of what product names may hold.
fn id(product: &str) -> String {
    product.replace('+', "_")
}

pub fn os_release(product: &Product) -> String {
    let id = id(&product.name);
    let mut fields = vec![
        ("NAME", product.title.clone()),
        ("PRETTY_NAME", format!("{} {}", product.title, product.version)),
        ("ID", id.clone()),
        ("VERSION_ID", product.version.clone()),
        ("VERSION", product.version.clone()),
        ("IMAGE_ID", id),
        ("IMAGE_VERSION", product.version.clone()),
        ("VARIANT_ID", product.machine.clone()),
        ("ARCHITECTURE", product.architecture.replace('_', "-")),
    ];
    if !product.support_until.is_empty() {
        fields.push(("SUPPORT_END", product.support_until.clone()));
    }
    fields.into_iter().map(|(name, value)| format!("{name}=\"{}\"\n", escaped(&value))).collect()
}

/// os-release(5): inside double quotes, these four take a backslash. Control characters become spaces.
fn escaped(value: &str) -> String {
    let mut result = String::new();
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            result.push('\\');
        }
        result.push(if c.is_control() { ' ' } else { c });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        assert_eq!(escaped("a\"; rm $x `y` \\\nz"), "a\\\"; rm \\$x \\`y\\` \\\\ z");
    }
}
