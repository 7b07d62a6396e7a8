//! Words of a fixed list to the variants of an enum.
//!
//! Invariant: a word that is not on the list is answered with the nearest one that is.

/// Makes an enum of the model decodable: `choices! { RunsOn as "place" { "device" => Device, "what it means" } }`.
macro_rules! choices {
    ($type:ty as $what:literal { $($word:literal => $variant:ident, $meaning:literal;)* }) => {
        impl $crate::config::record::Decode for $type {
            fn decode(
                node: &$crate::config::yaml::Node,
                problems: &mut $crate::config::record::Problems,
            ) -> Option<Self> {
                match node.text() {
                    $(Some($word) => return Some(<$type>::$variant),)*
                    Some(word) if !problems.defers(node) => {
                        let help = $crate::config::diagnostic::suggest(word, [$($word,)*]);
                        problems.add(
                            $crate::config::Diagnostic::at(&node.origin, format!("`{word}` is not a {}", $what))
                                .maybe_help(help),
                        );
                    }
                    Some(_) => {}
                    None => problems.wrong_type(node, concat!("a ", $what)),
                }
                None
            }
            fn shape() -> $crate::config::record::Shape {
                $crate::config::record::Shape::OneOf(&[$(($word, $meaning),)*])
            }
        }
    };
}
pub(crate) use choices;
