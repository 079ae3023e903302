#!/bin/sh
# Installs the Puppet agent and tells it who it is. The agent is never enabled:
# what it does to this machine happens once, while the image is baked.
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -q -y puppet-agent
mkdir -p /etc/puppet
cat >/etc/puppet/puppet.conf <<CONF
[agent]
server = $PUPPET_SERVER
certname = $CERTNAME
report = true
CONF
systemctl disable puppet
