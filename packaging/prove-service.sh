#!/bin/sh
# Proves the unit where systemd runs and the package rivulet is installed, as root; it is started, asked, reloaded, hung and killed: not for a server in use.
# The last line is `N passed, N failed`. packaging/prove.sh --boot runs it in a system of its own.
set -u
passed=0 failed=0
holds() { what=$1; shift; if "$@" >/tmp/prove.log 2>&1; then passed=$((passed + 1)); echo "held: $what"; else failed=$((failed + 1)); echo "MISSED: $what"; tail -n 20 /tmp/prove.log; fi; }
samples=/usr/share/rivulet/examples/decklists
key=a-key-of-sixteen-letters
show() { systemctl show -p "$1" --value rivulet.service; }
active() { systemctl is-active --quiet rivulet.service; }
started() { systemctl restart rivulet.service && active; }
told() { show StatusText | grep -q 'Listening on 127.0.0.1 port 8080'; }
submit() { rivulet submit decklists --watch "$samples/01-plain.jpg" "$samples/03-webp.webp" >/tmp/submit.out && [ "$(grep -c '"decklist"' /tmp/submit.out)" = 2 ]; }
known() { rivulet jobs | grep -q completed; }
has_no_rights() { grep -q '^CapEff:.0000000000000000' "/proc/$(show MainPID)/status" && [ "$(stat -c %U "/proc/$(show MainPID)")" = rivulet ]; }
# Workers have a network of their own: none.
locked() {
    for process in /proc/[0-9]*; do
        tr '\0' ' ' <"$process/cmdline" 2>/dev/null | grep -q '^rivulet worker' || continue
        [ "$(readlink "$process/ns/net")" != "$(readlink "/proc/$(show MainPID)/ns/net")" ] || { echo "$process shares the network"; return 1; }
        seen=yes
    done
    [ "${seen:-}" = yes ]
}
credential() {
    (umask 077 && echo "alice $key" >/etc/rivulet/credentials/RIVULET_KEYS)
    systemctl restart rivulet.service
    ! rivulet jobs && RIVULET_KEY=$key rivulet jobs
    answer=$?
    rm -f /etc/rivulet/credentials/RIVULET_KEYS
    return $answer
}
reload() { before=$(show MainPID); systemctl reload rivulet.service && sleep 1 && active && [ "$(show MainPID)" = "$before" ]; }
by_socket() { systemctl stop rivulet.service && systemctl start rivulet.socket && ! active && known && active; }
hung() {
    before=$(show MainPID)
    kill -STOP "$before"
    tries=0
    until now=$(show MainPID) && [ "$now" != "$before" ] && [ "$now" != 0 ] && active; do
        tries=$((tries + 1)); [ $tries -lt 150 ] || return 1; sleep 0.2
    done
    [ "$(show NRestarts)" = 1 ] && known
}
exposure() { systemd-analyze security --no-pager rivulet.service | tail -n 1; }
little_open() { exposure; exposure | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^[0-9.]+$/) exit !($i <= 2.0); exit 1 }'; }

echo "prove: $(. /etc/os-release && echo "$PRETTY_NAME"), $(systemctl --version | head -n 1)"
holds 'the unit starts: systemd was told that it is ready' started
sleep 6
holds 'its status says where it listens' told
holds 'it has no capability and is the user rivulet' has_no_rights
holds 'a job runs under all of the unit' submit
holds 'workers share no network with it' locked
holds 'a file in /etc/rivulet/credentials is a setting' credential
holds 'it starts without it again' started
holds 'reload is heard, and ends nothing' reload
holds 'the socket starts it at the first connection' by_socket
mkdir -p /run/systemd/system/rivulet.service.d
printf '[Service]\nWatchdogSec=3\nTimeoutAbortSec=2\n' >/run/systemd/system/rivulet.service.d/prove.conf
systemctl daemon-reload
systemctl restart rivulet.service
sleep 8
holds 'a watchdog of 3 s leaves it alone' test "$(show NRestarts)" = 0
holds 'one that hangs is killed and started again' hung
holds "systemd-analyze says little is open: $(exposure | tr -cd 'A-Za-z0-9. ' | cut -c 2-)" little_open
rm -rf /run/systemd/system/rivulet.service.d
systemctl daemon-reload
systemctl stop rivulet.socket rivulet.service
holds 'it ended well' test "$(show Result)" = success
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
