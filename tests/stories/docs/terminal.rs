//! Decides what is answered where a command of the documents asks at a terminal, and who starts
//! the daemon there that systemd would start.

use e2e::{KEY_SECRET, Terminal};

use super::{page::Block, shell, world::World};

const SIZE: (u16, u16) = (60, 200);

/// What is asked, and the answer: the key that is typed, and that a file is to keep it.
const ANSWERS: [(&str, &str); 3] = [
    ("AccessKey id of the RAM user: ", "LTAIEXAMPLEUPLOADER01"),
    ("Its AccessKey secret (it is not shown): ", KEY_SECRET),
    ("keyring (desktop) [file]: ", ""),
];

/// What has a user who has nothing of ours yet set up.
const SETS_UP: &str = "stsctl init --region ";

/// Tells whether a block asks. A page that has one begins with nothing of ours.
pub(crate) fn asks(block: &Block) -> bool {
    let commands = shell::commands(block);
    commands.iter().any(|it| it.starts_with(SETS_UP))
}

/// Runs a block that asks.
///
/// # Errors
/// Says where it is, and what the terminal has shown.
pub(crate) fn run(world: &mut World, block: &Block) -> Result<(), String> {
    let mut command = world.command("bash");
    command.args(["-eu", "-c", &world.here(&block.text)]);
    let mut terminal = Terminal::start(&command, SIZE);
    for (question, answer) in ANSWERS {
        terminal.wait_for(question);
        terminal.type_keys(&format!("{answer}\n"));
    }
    let socket = world.env.path("home/.config/systemd/user/stsd.socket");
    let here = || socket.exists();
    world.env.wait_until("systemd could start it", here);
    world.start();
    let code = terminal.wait_for_exit();
    e2e::assert_no_secrets(&block.place(), &terminal.bytes());
    match code {
        0 => Ok(()),
        code => {
            let shown = terminal.screen().contents();
            Err(format!("{}: {code}\n{shown}", block.place()))
        }
    }
}
