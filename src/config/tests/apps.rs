//! Apps as they are written, and what is wrong with them or between them.

use super::*;
use crate::model::AppName;
use osbuild_format::app::{Health, ListenFrom, Protocol};

const APP: &str = "apps/meter/app.yaml";
const METER: &str =
    "schema: 1\napp: meter\nversion: \"1.0.0\"\ntitle: Meter\npackages: [zlib]\nexec: [/usr/bin/meter, -v]\n\
    env: {BROKER: broker.example, PORT: 8883}\nabi: {runtime: 1}\ncapabilities:\n  \
    connect: [{host: broker.example, port: 8883, private: true}]\n  listen: [{port: 1884, from: apps}]\n  \
    apps: [{app: broker, port: 1883}]\n  storage: 4M\n  devices: [$METER_UART]\n  \
    interfaces: [{name: $DOWNSTREAM, address: 192.168.50.1/24}]\n  set-time: true\n\
    limits: {memory: 16M}\nready: notify\nhealth: {watchdog: 30}\nafter: [broker]\n";
const BROKER: &str = "schema: 1\napp: broker\nversion: \"2.0.0\"\ntitle: \"Broker {{ version }}\"\npackages: [zlib]\n\
    exec: [/usr/bin/broker]\ncapabilities: {listen: [{port: 1883, from: network}]}\nhealth: {tcp: 1883}\n";

pub fn project() -> Project {
    let project = Project::new();
    project.write(APP, METER);
    project.write("apps/broker/app.yaml", BROKER);
    project.change(
        "layers/core/machines/board.yaml",
        "kernel: linux",
        "memory: 256M\ndevices: {METER_UART: /dev/ttyS1}\ninterfaces: {DOWNSTREAM: eth1}\n\
         board: {serial-ports: 1, networks: [{guest: 192.168.50.1, forwards: {8884: 8883}}], disk: 1G}\nkernel: linux",
    );
    project.change(
        "layers/core/products/gateway.yaml",
        "hostname",
        "apps: {meter: {critical: true}, broker: {third-party: true}}\nsafe-mode: true\n\
         app-signers: [\"{% if features.ssh %}x{% endif %}\"]\ndns-servers: [192.0.2.53]\nhostname",
    );
    project
}

fn name(text: &str) -> AppName {
    AppName::new(text).expect("a name")
}

#[test]
fn an_app_is_what_its_file_says_and_nothing_more() {
    let config = project().loaded("gateway");
    let meter = &config.apps[&name("meter")].manifest;
    assert_eq!((meter.id.as_str(), meter.architecture.as_str()), ("meter", "x86_64"));
    assert_eq!(meter.argv, ["/usr/bin/meter", "-v"]);
    assert_eq!(meter.env["PORT"], "8883");
    let c = &meter.capabilities;
    assert_eq!((c.connect[0].protocol, c.connect[0].private), (Protocol::Tcp, true));
    assert_eq!(c.storage_bytes, 4 << 20);
    assert_eq!((c.devices[0].as_str(), c.interfaces[0].name.as_str()), ("METER_UART", "DOWNSTREAM"));
    assert_eq!(c.interfaces[0].prefix, 24);
    assert!(c.set_time && !c.reboot && !c.defer_updates && !c.device_identity);
    assert_eq!((meter.limits.memory_bytes, meter.limits.files), (16 << 20, 256));
    assert_eq!(meter.health, Some(Health::Watchdog { seconds: 30 }));
    let broker = &config.apps[&name("broker")].manifest;
    assert_eq!(broker.title, "Broker 2.0.0");
    assert_eq!(broker.capabilities.listen[0].from, ListenFrom::Network);
    assert_eq!(broker.health, Some(Health::Tcp { port: 1883, seconds: 10 }));
    let product = &config.product;
    assert!(product.apps[&name("meter")].critical && product.apps[&name("broker")].third_party);
    assert!(product.safe_mode && product.app_signers.is_empty());
    assert_eq!(product.dns_servers, [std::net::Ipv4Addr::new(192, 0, 2, 53)]);
    assert_eq!(config.machine.devices["METER_UART"], "/dev/ttyS1");
    let board = &config.machine.board;
    assert_eq!((board.serial_ports, board.networks.len(), board.networks[0].forwards[&8884]), (1, 1, 8883));
    assert_eq!(config.machine.memory_bytes, Some(256 << 20));
}

#[test]
fn an_app_of_a_layer_has_its_recipe_beside_it_and_takes_overrides() {
    let project = project();
    project.write("layers/core/apps/lamp/app.yaml", &BROKER.replace("broker", "lamp").replace("[zlib]", "[lamp]"));
    project.write("layers/core/apps/lamp/recipe.yaml", &FILES[8].1.replace("stub", "lamp"));
    project.write("layers/core/overrides/lamp.yaml", "schema: 1\noverride: app lamp\nset: {title: Lamp}\n");
    let config = project.loaded("gateway");
    assert_eq!(config.apps[&name("lamp")].manifest.title, "Lamp");
    assert!(config.recipes.contains_key("lamp"));
}

/// A file, what to change in it, and what the user must then be told.
type Case = (&'static str, &'static str, &'static str, &'static [&'static str]);

const WRONG: &[Case] = &[
    (APP, "title:", "titel:", &["unknown field `titel` in app", "did you mean `title`?", APP]),
    (APP, "set-time", "set-tim", &["unknown field `set-tim` in capabilities", "did you mean `set-time`?"]),
    (APP, "app: meter", "app: metre", &["this app is named `metre`, but its path says `meter`"]),
    (APP, "\"1.0.0\"", "\"1.0\"", &["app `meter`: `version` is not usable here (MAJOR.MINOR.PATCH): `1.0`", ":3:10"]),
    (APP, "[/usr/bin/meter, -v]", "[meter]", &["the program is an absolute path", "app.yaml:6:8"]),
    (APP, "exec: [/usr/bin/meter, -v]", "exec: []", &["app `meter` has nothing to run in `exec`"]),
    (APP, "broker.example, port: 8883", "Broker_1, port: 8883", &["a host name or an IPv4 address", "app.yaml:10:13"]),
    (APP, "port: 1884", "port: 0", &["a port, 1 to 65535", "app.yaml:11:12"]),
    (APP, "port: 1884", "port: 70000", &["expected a whole number from 0 to 65535"]),
    (APP, "from: apps", "from: app", &["`app` is not a source of connections", "did you mean `apps`?"]),
    (APP, "$METER_UART", "/dev/ttyS1", &["`/dev/ttyS1` is not a logical name"]),
    (APP, "[$METER_UART]", "[$METER_UART, $METER_UART]", &["`devices` names this twice", "app.yaml:14:26"]),
    (APP, "192.168.50.1/24", "192.168.50.1", &["`192.168.50.1` is not an address with 8 to 30 bits"]),
    (
        APP,
        "192.168.50.1/24",
        "192.168.50.0/24",
        &["is no address for the app: it is that of the network", "app.yaml:15:"],
    ),
    (APP, "192.168.50.1/24", "192.168.50.255/24", &["is no address for the app: it is that of the network"]),
    (APP, "192.168.50.1/24", "198.18.0.2/24", &["is no address for the app: no network has it but"]),
    (APP, "broker.example, port", "127.0.0.1, port", &["`127.0.0.1` is an address that no host outside has", ":10:20"]),
    (APP, "broker.example, port", "198.19.255.1, port", &["`198.19.255.1` is an address that no host outside has"]),
    (APP, "broker.example, port", "169.254.169.254, port", &["is an address that no host outside has"]),
    (APP, "broker.example, port", "300.1.1.1, port", &["`300.1.1.1` is neither a host name nor an IPv4 address"]),
    (APP, "broker.example, port", "broker.app, port", &["`broker.app` is the name of an app", "`apps: [{app: NAME"]),
    (APP, "runtime: 1", "runtime: 7", &["the app needs version 7 of the ABI `runtime`", "app.yaml:8:16"]),
    (APP, "runtime: 1", "gpu: 1", &["the app needs the ABI `gpu`, which this system does not have"]),
    (APP, "memory: 16M", "memory: 16K", &["at least 1 MiB", "app.yaml:17:9"]),
    (APP, "memory: 16M", "cpu: 0", &["limits.cpu_percent"]),
    (APP, "watchdog: 30", "watchdog: 30, tcp: 1", &["a health check is either `watchdog` or `tcp`"]),
    (APP, "watchdog: 30", "watchdog: 0", &["1 to 3600 seconds", "app.yaml:19:9"]),
    (
        APP,
        "watchdog: 30",
        "tcp: 99",
        &["the health check connects to port 99, on which app `meter` does not listen", "add `{port: 99, from: apps}`"],
    ),
    (
        "apps/broker/app.yaml",
        "from: network",
        "from: interface",
        &["app `broker` listens on an interface of its own and has none"],
    ),
    (APP, "packages: [zlib]", "packages: [zlip]", &["there is no package `zlip`", "did you mean `zlib`?"]),
    (
        "layers/core/products/gateway.yaml",
        "{meter:",
        "{metre:",
        &["there is no app `metre`", "did you mean `meter`?", "gateway.yaml:"],
    ),
    (
        "layers/core/products/gateway.yaml",
        "app-signers: [",
        "app-signers: [abc, ",
        &["not an Ed25519 public key: `abc`", "64 hex digits of `app.pub`"],
    ),
    ("layers/core/products/gateway.yaml", "192.0.2.53", "dns.example", &["`dns.example` is not an IPv4 address"]),
    ("layers/core/machines/board.yaml", "METER_UART:", "meter:", &["`meter` is not a logical name"]),
    ("layers/core/machines/board.yaml", "/dev/ttyS1", "ttyS1", &["`ttyS1` is not a device node"]),
    ("layers/core/machines/board.yaml", "eth1", "a-very-long-name-of-one", &["is not the name of a network interface"]),
    ("layers/core/machines/board.yaml", "serial-ports: 1", "serial-ports: 4", &["3 `serial-ports` and 8"]),
    (
        "layers/core/machines/board.yaml",
        "guest: 192.168.50.1",
        "guest: 192.168.50.2",
        &["is not an address for the guest", "ends in 1 or 4 to 14"],
    ),
];

#[test]
fn each_mistake_in_an_app_is_explained() {
    for (path, from, to, expected) in WRONG {
        let project = project();
        project.change(path, from, to);
        let problems = project.problems("gateway");
        for part in *expected {
            assert!(problems.contains(part), "`{to}` in {path} should say `{part}`:\n{problems}");
        }
    }
}

const BROKER_FILE: &str = "apps/broker/app.yaml";
const GATEWAY: &str = "layers/core/products/gateway.yaml";
const BOARD: &str = "layers/core/machines/board.yaml";

/// What apps and the machine contradict each other in: the whole of what the user is told.
const TOGETHER: &[(&str, &str, &str, &str)] = &[
    (
        APP,
        "{port: 1884, from: apps}",
        "{port: 1883, from: network}",
        "error: app `meter` listens on the device's TCP port 1883, and so does app `broker`\n --> apps/meter/app.yaml:11:12\n   \
         |\n11 |   listen: [{port: 1883, from: network}]\n   |            ^\n\
         help: give one of them another port, or `from: apps`; the other one is at apps/broker/app.yaml:7:25",
    ),
    (
        APP,
        "{port: 1884, from: apps}",
        "{port: 68, protocol: udp, from: network}",
        "error: app `meter` listens on the device's UDP port 68, which is the system's\n --> apps/meter/app.yaml:11:12\n   \
         |\n11 |   listen: [{port: 68, protocol: udp, from: network}]\n   |            ^\n\
         help: give it another port, or `from: apps`: nobody would reach the system there any more",
    ),
    (
        BROKER_FILE,
        "capabilities: {",
        "capabilities: {devices: [$METER_UART], ",
        "error: app `meter` and app `broker` both use the device `$METER_UART`, which is `/dev/ttyS1`\n --> \
         apps/meter/app.yaml:14:13\n   |\n14 |   devices: [$METER_UART]\n   |             ^\n\
         help: it has one owner, to which the other may connect; the other use is at apps/broker/app.yaml:7:26, the machine's \
         name at layers/core/machines/board.yaml:6:23",
    ),
    (
        BROKER_FILE,
        "capabilities: {",
        "capabilities: {interfaces: [{name: $DOWNSTREAM, address: 10.0.0.1/8}], ",
        "error: app `meter` and app `broker` both use the network interface `$DOWNSTREAM`, which is `eth1`\n --> \
         apps/meter/app.yaml:15:23\n   |\n15 |   interfaces: [{name: $DOWNSTREAM, address: 192.168.50.1/24}]\n   \
         |                       ^\n\
         help: it has one owner, to which the other may connect; the other use is at apps/broker/app.yaml:7:36, the machine's \
         name at layers/core/machines/board.yaml:7:26",
    ),
    (
        BOARD,
        "METER_UART",
        "METR_UART",
        "error: app `meter` uses the device `$METER_UART`, which machine `board` does not have\n --> apps/meter/app.yaml:14:13\n   \
         |\n14 |   devices: [$METER_UART]\n   |             ^\n\
         help: did you mean `METR_UART`?; or add `METER_UART: ...` to `devices` of the machine at \
         layers/core/machines/board.yaml:2:10",
    ),
    (
        BOARD,
        "memory: 256M",
        "memory: 100M",
        "error: the apps may use 48 MiB of memory, but a device has 36 MiB for them: 100 MiB, of which the system needs 64\n --> \
         layers/core/machines/board.yaml:5:9\n  |\n5 | memory: 100M\n  |         ^\nhelp: lower `limits` of one of these:\n      \
         `broker`, 32 MiB, at apps/broker/app.yaml:2:6\n      `meter`, 16 MiB, at apps/meter/app.yaml:17:9",
    ),
    (
        APP,
        "storage: 4M",
        "storage: 65M",
        "error: the apps may store 65 MiB, but the data partition has 48 MiB for them: 64 MiB, of which the system needs 16\n --> layers/core/machines/board.yaml:4:53\n  |\n4 | \
         partitions: {esp: 32M, root: 48M, verity: 1M, data: 64M}\n  |                                                     ^\n\
         help: enlarge `data`, or lower `storage` of one of these:\n      `meter`, 65 MiB, at apps/meter/app.yaml:13:12",
    ),
    (
        APP,
        "memory: 16M",
        "cpu: 250",
        "error: app `meter` may use 250 hundredths of a processor, but the machine has 2 processors\n --> \
         apps/meter/app.yaml:17:9\n   |\n17 | limits: {cpu: 250}\n   |         ^\n\
         help: write `cpu: 200` or less; `cpus` of the machine is at layers/core/machines/board.yaml:8:8",
    ),
    (
        APP,
        "port: 1883",
        "port: 1885",
        "error: app `meter` connects to port 1885 of app `broker`, which does not listen there for apps\n --> \
         apps/meter/app.yaml:12:30\n   |\n12 |   apps: [{app: broker, port: 1885}]\n   |                              ^\n\
         help: ports of `broker` for apps: 1883; it is at apps/broker/app.yaml:2:6",
    ),
    (
        GATEWAY,
        ", broker: {third-party: true}",
        "",
        "error: app `meter` connects to app `broker`, which product `gateway` does not have\n --> apps/meter/app.yaml:12:16\n   \
         |\n12 |   apps: [{app: broker, port: 1883}]\n   |                ^\n\
         help: add `broker: {}` to `apps` of the product at layers/core/products/gateway.yaml:2:10",
    ),
    (
        APP,
        "{app: broker",
        "{app: brokr",
        "error: app `meter` connects to app `brokr`, which does not exist\n --> apps/meter/app.yaml:12:16\n   |\n12 |   \
         apps: [{app: brokr, port: 1883}]\n   |                ^\nhelp: did you mean `broker`?",
    ),
    (
        APP,
        "after: [broker]",
        "after: [brokr]",
        "error: app `meter` starts after app `brokr`, which does not exist\n --> apps/meter/app.yaml:20:9\n   |\n20 | after: \
         [brokr]\n   |         ^\nhelp: did you mean `broker`?",
    ),
    (
        BROKER_FILE,
        "health:",
        "after: [meter]\nhealth:",
        "error: apps go in a circle: `broker` -> `meter` -> `broker`\n --> apps/broker/app.yaml:8:9\n  |\n8 | after: [meter]\n  \
         |         ^\nhelp: remove one of these:\n      `broker` starts after `meter` at apps/broker/app.yaml:8:9\n      \
         `meter` starts after `broker` at apps/meter/app.yaml:20:9",
    ),
];

#[test]
fn what_apps_contradict_each_other_in_is_named_from_both_sides() {
    for (path, from, to, expected) in TOGETHER {
        let project = project();
        project.change(path, from, to);
        assert_eq!(project.problems("gateway"), *expected, "`{to}` in {path}");
    }
}

#[test]
fn a_machine_that_does_not_say_its_memory_has_its_boards() {
    let project = project();
    project.change(BOARD, "memory: 256M\n", "");
    project.change(APP, "memory: 16M", "memory: 2G");
    let problems = project.problems("gateway");
    assert!(problems.contains("a device has 960 MiB for them: 1024 MiB"), "{problems}");
    assert!(problems.contains(&format!("--> {BOARD}:")) && problems.contains("`meter`, 2048 MiB"), "{problems}");
}

#[test]
fn apps_that_the_product_does_not_have_may_be_as_they_like() {
    let project = project();
    project.write("apps/other/app.yaml", &METER.replace("meter", "other").replace("16M", "9G"));
    project.loaded("gateway");
}
