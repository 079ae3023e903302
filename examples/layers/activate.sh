#!/bin/sh
# Installs and enables the shop's service, which depends on the environment.
set -e
cat >/etc/systemd/system/shop.service <<UNIT
[Service]
WorkingDirectory=/srv/shop
Environment=NODE_ENV=$ENVIRONMENT WORKERS=$WORKERS NODE_PATH=/opt/modules/node_modules
ExecStart=/usr/bin/node server.js
User=www-data
[Install]
WantedBy=multi-user.target
UNIT
systemctl enable shop nginx
