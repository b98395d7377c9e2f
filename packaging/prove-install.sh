#!/bin/sh
# Proves the packages in FOLDER on the clean Debian that this runs in, as root: they install with what they depend on, the server starts as its own user with
# the settings of the package, reads a decklist, runs a job, ends well, starts again; upgrading keeps what is there; removing leaves the data, purging nothing.
# Where systemd runs it is asked to start the service; elsewhere the program is started as the unit would.
#
# Usage: packaging/prove-install.sh FOLDER. The last line is `N passed, N failed`.
set -u
packages=${1:?the folder of the packages}
passed=0 failed=0
holds() { what=$1; shift; if "$@" >/tmp/prove.log 2>&1; then passed=$((passed + 1)); echo "held: $what"; else failed=$((failed + 1)); echo "MISSED: $what"; tail -n 20 /tmp/prove.log; fi; }
apt() { DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@"; }
samples=/usr/share/rivulet/examples/decklists
export PYTHONDONTWRITEBYTECODE=1

echo "prove: $(. /etc/os-release && echo "$PRETTY_NAME"), $(dpkg-query -W | wc -l) packages before"
apt update >/dev/null 2>&1
holds 'rivulet installs with what it depends on' apt install --no-install-recommends "$packages"/rivulet_*.deb
ready() { grep -qs '^rivulet ready on' /tmp/serve.out; }
# The unit's own words, as far as they can be followed without systemd.
start() {
    : >/tmp/serve.out
    install -d -o rivulet -g rivulet -m 700 /var/lib/rivulet
    (set -a; . /etc/rivulet/rivulet.env; set +a
     RIVULET_DATA=/var/lib/rivulet HOME=/var/lib/rivulet PORT=18080 exec setpriv --reuid=rivulet --regid=rivulet --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
         /usr/bin/rivulet serve) >/tmp/serve.out 2>/tmp/serve.err &
    server=$!
    tries=0
    until ready; do
        kill -0 $server 2>/dev/null && [ $tries -lt 100 ] || { cat /tmp/serve.err; return 1; }
        tries=$((tries + 1)); sleep 0.1
    done
}
stop() { kill -TERM $server && wait $server; }
is_rivulet() { [ "$(stat -c %U /proc/$server)" = rivulet ]; }
# The command line is the client: nothing else need be installed.
submit() { rivulet submit decklists --server http://127.0.0.1:18080 --watch "$samples/01-plain.jpg" "$samples/03-webp.webp" >/tmp/submit.out 2>&1 && [ "$(grep -c '"decklist"' /tmp/submit.out)" = 2 ] || { cat /tmp/submit.out; return 1; }; }
known() { rivulet jobs --server http://127.0.0.1:18080 | grep -q completed; }
reads() { rivulet run decklists --catalogue "$samples/catalogue.csv" "$samples/01-plain.jpg" | grep -q '"decklist"'; }
accurate() { rivulet run decklists --engine onnx --catalogue "$samples/catalogue.csv" "$samples/01-plain.jpg" | grep -q '"legend"'; }

holds 'the program says its version' rivulet --version
holds 'the user rivulet exists and has no shell' sh -c 'getent passwd rivulet | grep -q "nologin$"'
holds 'manual page and completions are there' test -s /usr/share/man/man1/rivulet.1.gz -a -s /usr/share/bash-completion/completions/rivulet.bash
holds 'settings are a conffile, credentials a folder of root' sh -c 'dpkg-query -W -f "\${Conffiles}" rivulet | grep -q /etc/rivulet/rivulet.env && [ "$(stat -c %a:%U /etc/rivulet/credentials)" = 700:root ]'
holds 'units are where systemd looks' sh -c 'ls /lib/systemd/system/rivulet.service /lib/systemd/system/rivulet.socket'
holds 'a decklist is read by Tesseract' reads
holds 'the server starts with the settings of the package' start
holds 'as the user rivulet' is_rivulet
holds 'a job runs, told as it goes' submit
holds 'SIGTERM ends it well' stop
holds 'it starts again' start
holds 'and knows the job' known
stop
if ls "$packages"/rivulet-recogniser_*.deb >/dev/null 2>&1; then
    holds 'rivulet-recogniser installs' apt install --no-install-recommends "$packages"/rivulet-recogniser_*.deb
    holds 'a decklist is read by it' accurate
fi
echo '# mine' >>/etc/rivulet/rivulet.env
holds 'installing again keeps settings' sh -c "DEBIAN_FRONTEND=noninteractive apt-get -q -y --reinstall install --no-install-recommends '$packages'/rivulet_*.deb && grep -q '^# mine' /etc/rivulet/rivulet.env"
holds 'and data' test -s /var/lib/rivulet/log.db
holds 'removing leaves settings and data' sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -q -y remove rivulet && test -s /var/lib/rivulet/log.db -a -s /etc/rivulet/rivulet.env -a ! -e /usr/bin/rivulet'
holds 'purging leaves nothing' sh -c 'DEBIAN_FRONTEND=noninteractive apt-get -q -y purge rivulet && test ! -e /var/lib/rivulet -a ! -e /etc/rivulet'
holds 'and it can be installed again' apt install --no-install-recommends "$packages"/rivulet_*.deb
holds 'and starts' start
stop
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
