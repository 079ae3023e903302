#!/bin/sh
# Installs the dependencies of all deployments, which seldom change.
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y "nodejs=$NODE_VERSION*" npm nginx
printf 'net.core.somaxconn = 4096\n' >/etc/sysctl.d/60-web.conf
mkdir -p /opt/modules
npm install --prefix /opt/modules express
