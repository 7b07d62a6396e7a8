//! Rotations whose old keys are elsewhere, or nowhere.

use super::*;

const ROLES: [TopLevel; 3] = [TopLevel::Targets, TopLevel::Snapshot, TopLevel::Timestamp];

/// Gives `role` the key `third` in place of its own.
fn rotate(folder: &Path, role: TopLevel, lost: &[&str], keyring: &Keyring) -> Result<u64, RepositoryError> {
    let repository = Repository::open(folder)?;
    let spec = repository.role_with(role, &["third".to_owned()], &[role.name().to_owned()], None, keyring)?;
    let lost: Vec<String> = lost.iter().map(ToString::to_string).collect();
    repository.rotate(&BTreeMap::from([(role, spec)]), &repository.ids_of(&lost, keyring)?, keyring, day(1))
}

fn elsewhere(keys: &Path, exchange: &Exchange) -> Keyring {
    Keyring::load(keys, exchange).unwrap()
}

#[test]
fn old_keys_that_are_elsewhere_are_asked_so_that_clients_follow_at_each_instant() {
    let keys = public_halves();
    for role in ROLES {
        let folder = made();
        let asking = Exchange::open(&[], day(1).seconds()).unwrap();
        assert!(rotate(folder.path(), role, &[], &elsewhere(keys.path(), &asking)).unwrap_err().is_wanted());
        let request = asking.request();
        assert!(request.entries.iter().any(|entry| entry.key == role.name()), "{role}: {request:?}");
        let fewer: Vec<&str> = NAMES.into_iter().filter(|name| *name != role.name()).collect();
        for (names, is_enough) in [(&fewer[..], false), (&NAMES, true)] {
            let answered = Exchange::open(&[answer(&request, names)], day(1).seconds()).unwrap();
            let rotated = rotate(folder.path(), role, &[], &elsewhere(keys.path(), &answered));
            assert_eq!(rotated.is_ok(), is_enough, "{role}: {rotated:?}");
        }
        assert_eq!(follow(before_root(folder.path(), 2).path()).unwrap(), 1, "{role}");
        assert_eq!(follow(folder.path()).unwrap(), 2, "{role}");
    }
}

#[test]
fn an_old_key_is_left_out_only_when_it_is_said_to_be_lost() {
    for role in ROLES {
        let folder = made();
        let left: Vec<&str> = NAMES.into_iter().filter(|name| *name != role.name()).collect();
        let mut left = keyring(&left);
        let error = rotate(folder.path(), role, &[], &left).unwrap_err();
        // Its public half is not here, so that it goes by its id.
        assert!(error.to_string().contains("does not sign for role"), "{error}");
        let keys = public_halves();
        left = elsewhere(keys.path(), &Exchange::closed());
        NAMES
            .into_iter()
            .filter(|name| *name != role.name())
            .for_each(|name| left.add(Signer::of_ed25519(name, key(name))));
        let error = rotate(folder.path(), role, &[], &left).unwrap_err();
        assert!(
            matches!(&error, RepositoryError::Threshold { role: of, signed: 0, wanted: 1 } if of == role.name()),
            "{error}"
        );
        assert!(rotate(folder.path(), role, &["nobody"], &left).unwrap_err().to_string().contains("no key `nobody`"));
        assert_eq!(rotate(folder.path(), role, &[role.name()], &left).unwrap(), 2);
        assert_eq!(follow(folder.path()).unwrap(), 2, "{role}");
    }
}

/// Two of three sign for the root: the request asks all of them, and the answers of two are enough.
#[test]
fn nobody_waits_for_more_signatures_than_a_role_asks_for() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), public_halves());
    let mut roles = roles();
    roles.insert(TopLevel::Root, spec(&["root", "second", "third"], 2));
    let asking = Exchange::open(&[], day(1).seconds()).unwrap();
    let begin =
        |exchange: &Exchange| init(folder.path(), &roles, Days::default(), &elsewhere(keys.path(), exchange), day(1));
    assert!(begin(&asking).unwrap_err().is_wanted());
    let answers = answer(&asking.request(), &["root", "third", "targets", "snapshot", "timestamp"]);
    begin(&Exchange::open(&[answers], day(1).seconds()).unwrap()).unwrap();
    assert_eq!(follow(folder.path()).unwrap(), 1);
}
