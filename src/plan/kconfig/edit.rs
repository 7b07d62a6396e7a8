//! Two configurations, before and after an edit, in; what a fragment should request, and what that contradicts, out.
//!
//! Invariant: every option that differs is either in the settings or follows from them.

use super::explain::can_be_chosen;
use super::fragment::{allconfig, updated, Request, Requested, Settings};
use super::{diff, Change, Configuration, Place, Symbols, Value};
use std::fmt;

/// What an edit comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// What a fragment should request so that the build gets the edited configuration.
    pub settings: Settings,
    /// What changes by itself then.
    pub follows: Vec<Change>,
    /// Requests of the present fragments that were met before and are not any more, line by line.
    pub conflicts: Vec<Conflict>,
}

/// A request that the edited configuration does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Without `CONFIG_`.
    pub name: String,
    pub requested: Value,
    pub now: Value,
    /// Every line that asks for it.
    pub places: Vec<Place>,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places: Vec<String> = self.places.iter().map(Place::to_string).collect();
        let Conflict { name, requested, now, .. } = self;
        write!(f, "{}: requests `CONFIG_{name}={requested}`, which is now: {now}", places.join(", "))
    }
}

impl Edit {
    /// What was edited by hand, from `before` to `after`, on top of what is `requested` already: what was certainly
    /// chosen. The rest, such as a number that is not its default, shows when a build is configured with it.
    pub fn by_hand(before: &Configuration, after: &Configuration, requested: &Requested, symbols: &Symbols) -> Edit {
        let needed = |change: &Change| {
            let asked = requested.contains_key(change.name()) || matches!(change.new, Value::Yes | Value::Module);
            asked && can_be_chosen(change.name(), symbols, after)
        };
        let chosen = diff(before, after).into_iter().filter(needed);
        let settings = chosen.map(|change| (change.name().to_owned(), change.new)).collect();
        Edit::of(settings, before, after, requested)
    }

    /// What `settings` made of `before`.
    pub fn of(settings: Settings, before: &Configuration, after: &Configuration, requested: &Requested) -> Edit {
        let mut edit = Edit { settings, ..Edit::default() };
        for change in diff(before, after) {
            if let Some(request) = requested.get(change.name()).filter(|request| request.value == change.old) {
                edit.conflicts.push(Conflict {
                    name: change.name().to_owned(),
                    requested: request.value.clone(),
                    now: change.new.clone(),
                    places: std::iter::once(&request.place).chain(&request.again).cloned().collect(),
                });
            }
            if !edit.settings.contains_key(change.name()) {
                edit.follows.push(change);
            }
        }
        edit.conflicts.sort_by(|a, b| a.places.cmp(&b.places));
        edit
    }

    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.follows.is_empty()
    }

    /// What is requested when the lines in conflict are gone and the settings are a fragment.
    pub fn applied_to(&self, requested: &Requested) -> Requested {
        let mut all = requested.clone();
        self.conflicts.iter().for_each(|conflict| drop(all.remove(&conflict.name)));
        all.extend(self.requested());
        all
    }

    /// The settings alone.
    pub fn requested(&self) -> Requested {
        let place = Place { file: "the edit".into(), line: 1 };
        let request = |value: &Value| Request { value: value.clone(), place: place.clone(), again: Vec::new() };
        self.settings.iter().map(|(name, value)| (name.clone(), request(value))).collect()
    }

    /// Takes what did not follow by itself, and can be chosen in `after`, into the settings.
    pub fn take<'a>(&mut self, missing: impl Iterator<Item = &'a Change>, after: &Configuration, symbols: &Symbols) {
        for change in missing.filter(|change| can_be_chosen(change.name(), symbols, after)) {
            self.settings.insert(change.name().to_owned(), change.new.clone());
        }
        self.follows.retain(|change| !self.settings.contains_key(change.name()));
    }

    /// The settings as a fragment.
    pub fn fragment(&self) -> String {
        allconfig(&self.requested())
    }

    /// The text of fragment `file` with the settings in it, and without the contradictions that it had.
    pub fn written_to(&self, file: &str, text: &str) -> String {
        let mut settings = self.settings.clone();
        let own = self.conflicts.iter().filter(|conflict| conflict.places.iter().any(|place| *place.file == *file));
        for conflict in own {
            settings.entry(conflict.name.clone()).or_insert(conflict.now.clone());
        }
        updated(text, &settings)
    }

    /// What stays to be resolved when the settings are written to `file`.
    pub fn conflicts_outside<'a>(&'a self, file: Option<&'a str>) -> impl Iterator<Item = Conflict> + 'a {
        self.conflicts.iter().filter_map(move |conflict| {
            let elsewhere = conflict.places.iter().filter(|place| Some(&*place.file) != file);
            let places: Vec<Place> = elsewhere.cloned().collect();
            (!places.is_empty()).then(|| Conflict { places, ..conflict.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{read, requested};
    use super::*;

    const KCONFIG: &str = "\
config NET
	bool \"net\"
config VETH
	bool \"veth\"
	depends on NET
config LIB
	bool \"lib\"
config USB
	bool \"usb\"
	select LIB
	select HIDDEN
config HIDDEN
	bool
config SIZE
	int \"size\"
config OLD
	bool \"old\"
";

    fn edit(before: &str, after: &str, fragments: &[(&str, &str)]) -> (Edit, Requested) {
        let symbols = read("Kconfig", "x86", &|_| Some(KCONFIG.to_owned())).expect("the file is valid");
        let requested = requested(fragments.iter().copied()).expect("the fragments agree");
        let (before, after) = (Configuration::parse(before), Configuration::parse(after));
        (Edit::by_hand(&before, &after, &requested, &symbols), requested)
    }

    #[test]
    fn only_what_was_chosen_is_requested() {
        let after = "CONFIG_USB=y\nCONFIG_LIB=y\nCONFIG_HIDDEN=y\nCONFIG_SIZE=3\n";
        let (edit, _) = edit("CONFIG_OLD=y\n", after, &[]);
        // LIB and HIDDEN are selected; OLD was requested by nobody.
        assert_eq!(edit.fragment(), "CONFIG_USB=y\n");
        let follows: Vec<&str> = edit.follows.iter().map(Change::name).collect();
        assert_eq!(follows, ["HIDDEN", "LIB", "OLD", "SIZE"]);
        assert_eq!(edit.conflicts, []);
    }

    #[test]
    fn requests_that_an_edit_contradicts_are_named_line_by_line() {
        let fragments = [("a.config", "CONFIG_NET=y\nCONFIG_VETH=y\n"), ("b.config", "# b\nCONFIG_NET=y\n")];
        let (edit, requested) = edit("CONFIG_NET=y\nCONFIG_VETH=y\n", "", &fragments);
        assert_eq!(edit.fragment(), "# CONFIG_NET is not set\n");
        let lines: Vec<String> = edit.conflicts_outside(None).map(|conflict| conflict.to_string()).collect();
        let expected = [
            "a.config:1, b.config:2: requests `CONFIG_NET=y`, which is now: n",
            "a.config:2: requests `CONFIG_VETH=y`, which is now: n",
        ];
        assert_eq!(lines, expected);
        // Written to one of the two, that one is in order.
        let outside: Vec<String> = edit.conflicts_outside(Some("a.config")).map(|c| c.to_string()).collect();
        assert_eq!(outside, ["b.config:2: requests `CONFIG_NET=y`, which is now: n"]);
        assert_eq!(
            edit.written_to("a.config", "CONFIG_NET=y\nCONFIG_VETH=y\n"),
            "# CONFIG_NET is not set\n# CONFIG_VETH is not set\n"
        );
        assert_eq!(allconfig(&edit.applied_to(&requested)), "# CONFIG_NET is not set\n");
    }

    #[test]
    fn what_did_not_follow_is_taken_in_when_it_can_be_chosen() {
        let after = "CONFIG_USB=y\nCONFIG_LIB=y\nCONFIG_SIZE=3\n";
        let (mut edit, _) = edit("CONFIG_OLD=y\n", after, &[]);
        let symbols = read("Kconfig", "x86", &|_| Some(KCONFIG.to_owned())).expect("the file is valid");
        let missing = edit.follows.clone();
        edit.take(missing.iter(), &Configuration::parse(after), &symbols);
        assert_eq!(edit.fragment(), "# CONFIG_OLD is not set\nCONFIG_SIZE=3\nCONFIG_USB=y\n");
        let follows: Vec<&str> = edit.follows.iter().map(Change::name).collect();
        assert_eq!(follows, ["LIB"]);
    }
}
