rails:
  user.present:
    - system: true
    - home: /srv/rails
    - shell: /usr/sbin/nologin

/srv/rails/shared:
  file.directory:
    - user: rails
    - makedirs: true
    - require:
      - user: rails
