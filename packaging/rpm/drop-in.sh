#!/bin/sh
# The unit of a user needs a drop-in with systemd before 247, whose user managers have no user
# namespaces: the service would end with 217/USER.
directory=/usr/lib/systemd/user/stsd.service.d
drop_in=no-user-namespaces.conf

link_drop_in() {
    version=$(systemctl --version 2>/dev/null | while read -r _ number _; do echo "$number" && break; done)
    version=${version%%[!0-9]*}
    if [ "${version:-247}" -lt 247 ]; then
        mkdir -p "$directory"
        ln -sf "/usr/share/doc/stsd/examples/$drop_in" "$directory/$drop_in"
    else
        unlink_drop_in
    fi
}

unlink_drop_in() {
    if [ -L "$directory/$drop_in" ]; then
        rm -f "$directory/$drop_in"
        rmdir "$directory" 2>/dev/null || true
    fi
}
