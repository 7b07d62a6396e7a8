use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Node, Vec<crate::config::diagnostic::Diagnostic>> {
    parse(text, &"a.yaml".into(), Limits::FILE)
}

fn message(text: &str) -> String {
    let problems = read(text).expect_err(text);
    let lines: Vec<_> = problems
        .iter()
        .map(|p| format!("{}: {}", p.origin.as_ref().map(ToString::to_string).unwrap_or_default(), p.message))
        .collect();
    lines.join("; ")
}

#[test]
fn every_value_knows_its_place() {
    let root = read("schema: 1\npackages:\n  - zlib\n  - {name: musl}\n").expect("valid");
    let packages = root.get("packages").expect("present");
    assert_eq!(packages.items()[0].origin.to_string(), "a.yaml:3:5");
    assert_eq!(packages.items()[1].get("name").expect("present").origin.to_string(), "a.yaml:4:12");
    assert_eq!(root.entries()[1].origin.to_string(), "a.yaml:2:1");
}

#[test]
fn what_we_refuse_says_where_and_why() {
    for (text, expected) in [
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3:1: `a` is set twice: on line 1 and on line 3"),
        ("a: &x [1]\nb: *x\n", "a.yaml:1:4: anchors (`&name`) are not supported"),
        ("a: !!binary x\n", "a.yaml:1:4: tags are not supported: `tag:yaml.org,2002:!binary`"),
        ("a: 1\n---\nb: 1\n", "a.yaml:2:1: a second document begins here"),
        ("", "a.yaml:1:1: the file is empty"),
        ("? [a]\n: 1\n", "a.yaml:1:3: a key must be text, not a list or mapping"),
        ("a: \0\n", "a.yaml:1:1: the file holds a NUL character"),
    ] {
        assert_eq!(message(text), expected, "{text}");
    }
    assert!(message("a: [1\nb: 2\n").contains("this is not YAML"));
    assert!(message(&"[".repeat(40)).contains("nested too deeply: at most 32 levels"));
    assert!(read(&"[".repeat(100_000)).is_err() && read(&"- ".repeat(100_000)).is_err());
    assert!(message(&"a".repeat(1 << 21)).contains("the file is too large: 2097152 bytes"));
}

#[test]
fn a_document_reads_back_and_shows_where_its_values_come_from() {
    let bare = document(&read("a: b\n\n  c\n").expect("valid"), false);
    assert_eq!(bare, "a: \"b\\nc\"\n");
    let text = "name: zlib\nlist:\n  - a: 1\n    b: [x, \"1\"]\n  - - deep\nscript: |\n  one\n\n  two # not a comment\nempty: []\n";
    let shown = document(&read(text).expect("valid"), true);
    assert_eq!(
        shown,
        "name: zlib  # a.yaml:1:7\nlist:\n  - a: 1  # a.yaml:3:8\n    b:\n      - x  # a.yaml:4:9\n      \
         - '1'  # a.yaml:4:12\n  -\n    - deep  # a.yaml:5:7\nscript: |  # a.yaml:7:3\n  one\n\n  two # not a comment\n\
         empty: []  # a.yaml:10:8\n"
    );
    assert!(same(&read(&shown).expect(&shown), &read(text).expect("valid")));
}

/// Equal but for places.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.key == b.key && same(&a.node, &b.node))
        }
        _ => a.text() == b.text() && a.meaning() == b.meaning(),
    }
}

fn tree() -> impl Strategy<Value = Node> {
    let origin = crate::model::Origin { file: "a.yaml".into(), line: 1, column: 1 };
    let at = move |value| Node { value, origin: origin.clone() };
    let texts = prop_oneof!["[ -~\n\t\u{e9}#:'\"]{0,12}", "(null|true|1|0x1|1e3|~|- a|yes|\\?|a: b|#x)"];
    let leaf = texts.prop_map(|text| Value::Scalar { text, style: Style::Quoted }).prop_map(at.clone()).boxed();
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let (list, map) = (at.clone(), at.clone());
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(move |items| list(Value::List(items))),
            prop::collection::btree_map("[ -~]{1,6}", inner, 0..4).prop_map(move |entries| {
                let origin = map(Value::List(vec![])).origin;
                let entry = |(key, node)| Entry { key, origin: origin.clone(), node };
                map(Value::Map(entries.into_iter().map(entry).collect()))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-c \n:&*?!|>#{}\\[\\],'\"\u{e9}\u{feff}-]{0,80}") {
        let _ = read(&text);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn what_is_written_reads_back(node in tree(), origins in any::<bool>()) {
        let text = document(&node, origins);
        let back = read(&text);
        prop_assert!(back.as_ref().is_ok_and(|back| same(back, &node)), "{}\n{:?}", text, back);
    }

    #[test]
    fn a_scalar_stands_in_a_flow_mapping(value in "[ -~\n\u{e9}\u{2028}\u{85}]{0,16}") {
        let text = format!("- {{a: {}, b: c}}", scalar(&value));
        let back = read(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e:?}")))?;
        let item = &back.items()[0];
        prop_assert_eq!(item.get("a").and_then(Node::text), Some(value.as_str()), "{}", text);
        prop_assert_eq!(item.get("b").and_then(Node::text), Some("c"));
    }
}
