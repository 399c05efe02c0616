#!/usr/bin/env bash
# Installs the service on Debian 12 or 13 or Ubuntu 24.04, or upgrades it: sudo deploy/install.sh
# Safe to run again: settings, keys and state stay, and so does what was changed in nginx's files.
# docs/install.md has the whole way. In the environment:
#   PUBLIC_URL=https://clave.oficina.example/restablecer   for a first settings file; else it asks
#   NGINX=no                                               leave nginx alone
set -euo pipefail
umask 022

source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
user=restablecer
home=/opt/restablecer
settings=/etc/restablecer/settings.env
keys=/etc/restablecer/secret_keys
state=/var/lib/restablecer
units=(restablecer.socket restablecer-web.service restablecer-worker.service)
# What runs; the demo and the tests stay where they are.
parts=(
    app.py config.py gunicorn.conf.py .flaskenv .env.example requirements.txt requirements-ldap.txt
    reset static templates translations deploy docs README.md CHANGES.md LICENSE
)

main() {
    [ "$(id -u)" = 0 ] || stop "run it as root: sudo $0"
    install_packages python3-venv
    [ "${NGINX:-}" = no ] || install_packages nginx
    /usr/bin/python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        stop "Python 3.11 or later is needed: Debian 12 or 13, Ubuntu 24.04"
    make_user
    make_settings
    make_release
    local left
    left=$(grep -E '^RESET_[A-Z_]+=.*oficina\.example' "$settings" | cut -d= -f1) || true
    # Before anything changes for what runs: with settings that are refused it goes on as it is.
    [ -n "$left" ] || as_service "$release" migrate
    install_units
    [ "${NGINX:-}" = no ] || set_up_nginx
    switch_release
    if [ -n "$left" ]; then
        say "Not started: fill in $settings, then run this again. Of the example there still are:" "$left"
        exit
    fi
    start
    as_service "$home/current" doctor
}

say() { printf '%s\n' "$@"; }
stop() { say "$@" >&2; exit 1; }

install_packages() {
    local package missing=()
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] ||
            missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installs the packages ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >/dev/null
}

make_user() {
    id "$user" >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir "$state" --no-create-home \
            --shell /usr/sbin/nologin "$user"
    install -d -m 755 "$home" "$home/releases"
    install -d -m 750 -g "$user" "${settings%/*}"
    install -d -m 700 -o "$user" -g "$user" "$state"
}

make_settings() {
    if [ ! -e "$settings" ]; then
        local url=${PUBLIC_URL:-}
        if [ -z "$url" ] && [ -t 0 ]; then
            read -rp "Where visitors will reach it (https://clave.oficina.example/restablecer): " url
        fi
        [[ $url =~ ^(https://[A-Za-z0-9.:/_~-]+)?$ ]] || stop "$url is no address with https://"
        write "$settings" 640 <<<"$(
            sed -e "s|^RESET_SECRET_KEYS=.*|RESET_SECRET_KEYS_FILE=$keys|" \
                -e "s|^# \(RESET_DATABASE_URL=sqlite:\).*|\1///$state/reset.sqlite|" \
                -e "s|^# \(RESET_TRUSTED_PROXIES=\).*|\11|" \
                ${url:+-e "s|^\(RESET_PUBLIC_URL=\).*|\1$url|"} \
                "$source/.env.example"
        )"
        say "wrote $settings"
    fi
    if [ ! -e "$keys" ] && grep -q "^RESET_SECRET_KEYS_FILE=$keys" "$settings"; then
        write "$keys" 640 <<<"$(/usr/bin/python3 -c 'import secrets; print(secrets.token_urlsafe(48))')"
        say "wrote $keys, a new secret key"
    fi
}

# The service's user may read it, nobody else; it is whole or not there.
write() {
    install -m "$2" -g "$user" /dev/null "$1.new"
    cat >"$1.new"
    mv "$1.new" "$1"
}

# A folder of its own for code and libraries together: what runs goes on with those it began with.
make_release() {
    release=$home/releases/$(date -u +%Y%m%d-%H%M%S)
    mkdir "$release"
    trap '[ "$(readlink "$home/current")" = "$release" ] || rm -rf "$release"' EXIT
    tar -C "$source" --exclude=__pycache__ -c "${parts[@]}" |
        tar -C "$release" -x --no-same-owner
    chmod -R u=rwX,go=rX "$release"
    if is_complete "$home/current" &&
        diff -rq -x .venv -x .env -x __pycache__ "$home/current" "$release" >/dev/null; then
        rm -r "$release"
        release=$(readlink "$home/current")
        say "the code is as it was: $release"
        return
    fi
    ln -s "$settings" "$release/.env"
    /usr/bin/python3 -m venv "$release/.venv"
    install_libraries requirements.txt
    if uses_ldap; then
        install_packages gcc python3-dev libldap2-dev libsasl2-dev
        install_libraries requirements-ldap.txt
    fi
    "$release/.venv/bin/python" -m compileall -q "$release/"{app,config}.py "$release/reset"
    say "new code: $release"
}

is_complete() {  # It is not any more after the system has got another Python.
    "$1/.venv/bin/flask" --version >/dev/null 2>&1 &&
        { ! uses_ldap || "$1/.venv/bin/python" -c 'import ldap' 2>/dev/null; }
}

uses_ldap() { grep -q '^RESET_ACCOUNTS_LDAP_BASE=' "$settings"; }

install_libraries() {
    "$release/.venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes \
        -r "$release/$1"
}

install_units() {
    local unit target reload=
    for unit in "${units[@]}"; do
        target=/etc/systemd/system/$unit
        cmp -s "$release/deploy/systemd/$unit" "$target" && continue
        [ "$unit" != restablecer.socket ] || [ ! -e "$target" ] ||
            systemd stop restablecer-web.service restablecer.socket
        install -m 644 "$release/deploy/systemd/$unit" "$target"
        say "wrote $target"
        reload=yes
    done
    [ -z "$reload" ] || systemd daemon-reload
    install -m 755 "$release/deploy/restablecer" /usr/local/bin/restablecer
}

set_up_nginx() {
    local url at=/etc/nginx site certificate enabled
    url=$("$release/.venv/bin/dotenv" -f "$settings" get RESET_PUBLIC_URL) || url=
    if ! [[ $url =~ ^https://([A-Za-z0-9.-]+)((/[A-Za-z0-9._~-]+)*)/?$ ]]; then
        say "nginx is left alone: RESET_PUBLIC_URL is no https address without a port"
        return
    fi
    host=${BASH_REMATCH[1]} path=${BASH_REMATCH[2]}
    place http.conf $at/conf.d/restablecer.conf
    place proxy.conf $at/snippets/restablecer-proxy.conf
    place locations.conf $at/snippets/restablecer.conf
    site=$at/sites-available/restablecer.conf enabled=$at/sites-enabled/restablecer.conf
    if grep -RlE "^[^#]*\bserver_name\s([^;]*\s)?${host//./\\.}[ ;]" $at/sites-enabled $at/conf.d |
        grep -qv '/restablecer.conf$'; then
        grep -RqE '^[^#]*\binclude\s+snippets/restablecer\.conf;' $at/sites-enabled $at/conf.d ||
            say "Another site of nginx serves $host. Into its server with TLS put this line, then" \
                "run nginx -t && systemctl reload nginx:" "    include snippets/restablecer.conf;"
    else
        place site.conf $site
        certificate=$(sed -n 's/^ *ssl_certificate \(.*\);$/\1/p' $site)
        if [ ! -e "$certificate" ]; then
            say "no certificate $certificate yet: get one (docs/install.md), then run this again"
        elif [ ! -e $enabled ]; then
            ln -s $site $enabled
            nginx -t -q || { rm $enabled; stop "the site was not enabled"; }
            say "enabled the site $host"
        fi
    fi
    nginx -t -q
    systemd reload-or-restart nginx
}

# What somebody has changed stays, with the new one beside it.
place() {
    if [ ! -e "$2" ] || cmp -s <(render "$home/current/deploy/nginx/$1") "$2"; then
        cmp -s <(render "$release/deploy/nginx/$1") "$2" && return
        render "$release/deploy/nginx/$1" >"$2"
        say "wrote $2"
    elif cmp -s <(render "$release/deploy/nginx/$1") "$2"; then
        rm -f "$2.new"
    else
        render "$release/deploy/nginx/$1" >"$2.new"
        say "kept $2, which was changed here; see $2.new"
    fi
}

# The files with the host and path of this service; at the root of a host some lines go.
render() {
    local drop='/# only under a path$/d'
    [ -z "$path" ] || drop=
    sed -e "$drop" -e "s|clave\.oficina\.example|$host|g" -e "s| /restablecer| $path|g" "$1"
}

as_service() (
    cd "$1"
    shift
    runuser -u "$user" -- env -i FLASK_APP=app HOME="$state" LANG=C.UTF-8 PATH=/usr/bin:/bin \
        .venv/bin/flask reset "$@"
)

switch_release() {
    ln -sfn "$release" "$home/current.new"
    mv -T "$home/current.new" "$home/current"
    # The one before stays, to go back to.
    find "$home/releases" -mindepth 1 -maxdepth 1 | sort | head -n -2 | xargs -r rm -r
}

start() {
    [ -d /run/systemd/system ] || say "systemd does not run here: start web and worker yourself"
    systemd enable --quiet "${units[@]}"
    systemd start restablecer.socket
    # Requests wait at the socket meanwhile.
    systemd restart restablecer-web.service restablecer-worker.service
    sleep 3  # The worker shows that it lives a moment after its start; doctor looks for that.
}

systemd() {
    [ ! -d /run/systemd/system ] || systemctl "$@"
}

main
