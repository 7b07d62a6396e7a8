use super::*;
use proptest::prelude::*;
use serde_json::json;

fn context() -> Context {
    Context::from_json(json!({
        "version": "1.3.1", "features": {"ssh": true, "wifi": false}, "vars": {"site": "lab", "port": 22},
        "users": {"root": {"uid": 0, "shell": null}},
    }))
}

fn fails(text: &str) -> TemplateError {
    render(text, "rootfs/etc/motd.tera", &context()).expect_err(text)
}

#[test]
fn values_conditions_and_loops_are_rendered() {
    for (text, expected) in [
        ("zlib-{{ version }}.tar.gz", "zlib-1.3.1.tar.gz"),
        ("{{vars.port}} {{ features.ssh }}", "22 true"),
        ("{% if features.ssh %}ssh{% else %}none{% endif %}", "ssh"),
        ("{% for name, user in users %}{{ name }}:{{ user.uid }}{% endfor %}", "root:0"),
        ("{{ vars.site | upper }}", "LAB"),
        ("{% if other is defined %}{{ other.deep }}{% endif %}", ""),
        ("{{ other | default(value=\"x\") }}", "x"),
        ("a {# comment #}b", "a b"),
        ("no { braces } here", "no { braces } here"),
        ("{% raw %}{{ kept }}{% endraw %}", "{{ kept }}"),
    ] {
        assert_eq!(render(text, "t", &context()).expect(text), expected);
    }
}

#[test]
fn an_undefined_name_is_an_error_with_its_place_and_a_suggestion() {
    let error = fails("hello\nat {{ vars.sitr }}\n");
    assert_eq!((error.line, error.column), (2, 7));
    assert_eq!(error.message, "`vars.sitr` is not defined");
    assert_eq!(error.help.as_deref(), Some("did you mean `vars.site`?"));
    assert_eq!(
        error.to_string(),
        "`vars.sitr` is not defined\n --> rootfs/etc/motd.tera:2:7\n  |\n2 | at {{ vars.sitr }}\n  |       ^\n\
         help: did you mean `vars.site`?"
    );
    assert_eq!(fails("{{ versoin }}").help.as_deref(), Some("did you mean `version`?"));
}

#[test]
fn an_undefined_name_is_found_where_tera_would_take_it_for_false() {
    for text in [
        "{% if features.shs %}x{% endif %}",
        "{% if not features.shs %}x{% endif %}",
        "{% if features.wifi %}{{ nowhere }}{% endif %}",
        "{% if features.ssh and features.shs %}x{% endif %}",
        "{% for x in nowhere %}{% endfor %}",
        "{% set a = nowhere %}",
    ] {
        assert!(fails(text).message.ends_with("is not defined"), "{text}");
    }
}

#[test]
fn syntax_errors_carry_their_place() {
    let error = fails("one\ntwo {{ version");
    assert_eq!(error.line, 2, "{error}");
    assert!(error.message.starts_with("the template cannot be read"), "{error}");
}

#[test]
fn nothing_but_the_context_has_a_way_in() {
    for text in ["{{ get_env(name=\"HOME\") }}", "{{ now() }}", "{% include \"x\" %}", "{% import \"x\" as y %}"] {
        assert!(render(text, "t", &context()).is_err(), "{text}");
    }
}

#[test]
fn a_template_cannot_exhaust_the_stack_or_the_memory() {
    let operators = format!("{{{{ {} }}}}", vec!["1"; 200_000].join("+"));
    let brackets = format!("{{{{ {}1{} }}}}", "(".repeat(17), ")".repeat(17));
    let blocks = "{% if true %}".repeat(50_000);
    let filters = format!("{{{{ version {} }}}}", "| upper ".repeat(100_000));
    for (text, expected) in [
        (operators, "this tag is longer than 1024 bytes"),
        (brackets, "more than 16 brackets are open at once"),
        (blocks, "more than 32 blocks are open at once"),
        (filters, "this tag is longer than 1024 bytes"),
        // A close inside a string closes nothing.
        (
            format!("{{{{ '}}}}' == ({}1{}) }}}}", "(".repeat(20_000), ")".repeat(20_000)),
            "this tag is longer than 1024 bytes",
        ),
        (
            format!("{{{{ '}}}}' == {}1{} }}}}", "(".repeat(17), ")".repeat(17)),
            "more than 16 brackets are open at once",
        ),
        (format!("{{# {{{{ ' #}}{{{{ {}1 }}}}{{# ' #}}", "(".repeat(17)), "more than 16 brackets are open at once"),
        (
            format!("{{% raw %}}{{% endraw\u{c} %}}{{# {{%- endraw -%}}{{{{ {}1 }}}}", "[".repeat(17)),
            "more than 16 brackets are open at once",
        ),
        ("{{ range(end=1000000000) }}".to_owned(), "function `range` is not available in templates"),
    ] {
        assert_eq!(fails(&text).message, expected);
    }
    let comment = format!("{{# {{{{ don't #}}{}{{# isn't #}}", "x".repeat(2000));
    let raw = format!("{{% raw %}}{{{{ ' {} {{% endraw %}}{{{{ version }}}}", "(".repeat(2000));
    let deepest = format!("{{{{ {}1{} }}}}", "(".repeat(16), ")".repeat(16));
    let logic = format!("{{{{ {}true{} }}}}", "(".repeat(16), " and true)".repeat(16));
    let longest = format!("{{{{ {} }}}}", vec!["1"; 500].join("+"));
    let nested = format!("{}x{}", "{% if true %}".repeat(32), "{% endif %}".repeat(32));
    for text in
        [comment, raw, deepest, logic, longest, nested, "{% if not true and not false %}x{% endif %}".to_owned()]
    {
        render(&text, "t", &context()).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_template_cannot_grow_or_run_without_end() {
    let doubled = format!("{{% set x = \"ab\" %}}{}", "{% set x = x ~ x %}".repeat(40));
    let nested = format!("{{% set x = \"ab\" %}}{}{{{{ x }}}}", "{% set x = [x, x, x] %}".repeat(40));
    let list = (0..200).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let loops = |depth: usize| {
        let open = format!("{{% for a in [{list}] %}}").repeat(depth);
        format!("{open}{}", "{% endfor %}".repeat(depth))
    };
    let escapes = format!("{{{{ '\"' {} }}}}", "| json_encode ".repeat(60));
    let repeats = format!("{{{{ 'aaaaaaaa' {} }}}}", "| replace(from='a',to='aaaaaaaa') ".repeat(12));
    let outputs = format!("{{% for a in [{list}] %}}{}{{% endfor %}}", "0123456789".repeat(4000));
    let names = "{{ vars.long }}".repeat(60_000);
    // `vars` is the context's, for nothing is set in a branch that is not taken.
    let shadowed = "{% if false %}{% set vars = '' %}{% endif %}{% set x = vars.long %}";
    let shadowed = format!("{shadowed}{}", "{% set x = x ~ x %}".repeat(16));
    for (text, expected) in [
        (doubled, "a value in this template may have more than 4194304 bytes"),
        (nested, "a value in this template may have more than 4194304 bytes"),
        (loops(4), "rendering this takes too long: it loops over too much, or its texts are too long"),
        (
            format!("{}{}", "{% for a in [1] %}".repeat(5), "{% endfor %}".repeat(5)),
            "more than 4 loops are in one another",
        ),
        ("{% for a in [1] %}{% set_global x = x ~ 'a' %}{% endfor %}".to_owned(), "`x` is not defined"),
        (
            "{% set x = '' %}{% for a in [1] %}{% set_global x = x ~ 'a' %}{% endfor %}".to_owned(),
            "`x` grows each time round the loop",
        ),
        (
            "{% set x = '' %}{% set y = '' %}{% for a in [1] %}{% set x = '' %}{% set_global x = y ~ 'a' %}\
             {% set_global y = x %}{% endfor %}"
                .to_owned(),
            "`x` grows each time round the loop",
        ),
        (escapes, "a value in this template may have more than 4194304 bytes"),
        (repeats, "a value in this template may have more than 4194304 bytes"),
        (outputs, "the template gives more than 4194304 bytes"),
        (shadowed, "a value in this template may have more than 4194304 bytes"),
        (names, "the template gives more than 4194304 bytes"),
        ("{% filter upper %}a{% endfilter %}".to_owned(), "`filter` is not available in templates"),
    ] {
        let mut context = context();
        context.insert("vars", json!({"long": "0123456789".repeat(20)}));
        let error = render(&text, "t", &context).expect_err(expected);
        assert_eq!(error.message, expected);
    }
}

#[test]
fn what_templates_do_for_a_living_is_within_the_limits() {
    for (text, expected) in [
        ("{{ version | replace(from=\".\", to=\"_\") | upper | trim }}", "1_3_1"),
        ("{% set x = version %}{% set x = x ~ \"-\" ~ x %}{{ x }}", "1.3.1-1.3.1"),
        ("{% for u, user in users %}{% for key, value in user %}{{ key }} {% endfor %}{% endfor %}", "shell uid "),
        ("{% for u, user in users %}{% set n = u ~ \":\" ~ user.uid %}{{ n }}{% endfor %}", "root:0"),
        (
            "{% set last = \"\" %}{% for p in [\"a\", \"a\", \"b\"] %}{% if p != last %}{{ p }}{% endif %}\
             {% set_global last = p %}{% endfor %}",
            "ab",
        ),
        ("{% for part in version | split(pat=\".\") %}{{ part }}{% endfor %}", "131"),
    ] {
        assert_eq!(render(text, "t", &context()).unwrap_or_else(|error| panic!("{text}: {error}")), expected);
    }
}

#[test]
fn brackets_name_what_dots_name() {
    assert_eq!(render("{{ features['ssh'] }}{{ users[\"root\"].uid }}", "t", &context()).expect("defined"), "true0");
    let error = fails("{% if features['shs'] %}x{% endif %}");
    assert_eq!(error.message, "`features.shs` is not defined");
    assert_eq!((error.column, error.help.as_deref()), (7, Some("did you mean `features.ssh`?")));
    assert_eq!(fails("{{ users[nobody].uid }}").message, "`nobody` is not defined");
}

#[test]
fn asking_about_a_name_excuses_it_there_and_nowhere_else() {
    for text in [
        "{{ other | default(value=\"x\") }}{{ other }}",
        "{{ other | default(value=\"x\") }}{% if other %}x{% endif %}",
        "{{ version | default(value=other) }}",
        "{% if other is defined %}{{ other }}{% endif %}{{ other }}",
        "{% set known = other is defined %}{{ other }}",
        "{{ other | upper | default(value=\"x\") }}",
    ] {
        assert_eq!(fails(text).message, "`other` is not defined", "{text}");
    }
    let elsewhere = "{% if other is not defined %}none{% elif other.deep %}{{ other.deep }}{% endif %}";
    assert_eq!(render(elsewhere, "t", &context()).expect("excused"), "none");
}

proptest! {
    #[test]
    fn no_text_panics(text in "[ -~\n{}%#.|\u{e9}]{0,60}") {
        let _ = render(&text, "t", &context());
    }

    #[test]
    fn the_short_way_gives_what_tera_gives(words in prop::collection::vec("[a-z{}. ]{0,6}|\\{\\{ ?(version|vars.port|features.ssh|vars.site) ?\\}\\}", 0..6)) {
        let text = words.concat();
        let whole = tera::Tera::one_off(&text, &context().0, false);
        if let (Ok(short), Ok(whole)) = (render(&text, "t", &context()), whole) {
            prop_assert_eq!(short, whole);
        }
    }
}
