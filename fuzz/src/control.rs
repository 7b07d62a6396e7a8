//! Any line at the agent's control socket, any datagram of an app, and any output of a service.

use osbuild_agent::wire::{app_message, Request, Splitter};

pub fn run(bytes: &[u8]) {
    if let Ok(request) = Request::parse(bytes) {
        let text = serde_json::to_vec(&request).expect("a request has a JSON form");
        assert_eq!(Request::parse(&text).ok(), Some(request));
    }
    assert!(app_message(bytes).len() <= bytes.len() + 1, "a word takes at least a line");
    let mut splitter = Splitter::default();
    let lines = bytes.chunks(7).flat_map(|piece| splitter.push(piece)).collect::<Vec<_>>();
    assert!(lines.iter().all(|line| !line.contains('\n') && line.len() <= 3 * 4096), "a line is one line, and bounded");
}

pub fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "{\"command\":\"status\"}\n",
        "{\"command\":\"restart\",\"service\":\"web\"}\n",
        "{\"command\":\"reboot\"}\n",
        "{\"command\":\"poweroff\"}\n",
        "READY=1\nSTATUS=all well\nWATCHDOG=1\nX_OSBUILD_SET_TIME=1764072000",
        "a line\r\nand a half",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
