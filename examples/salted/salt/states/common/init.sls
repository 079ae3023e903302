baked-as:
  file.managed:
    - name: /etc/baked-as
    - contents: "{{ grains.id }} {{ grains.commit }}"

motd:
  file.managed:
    - name: /etc/motd
    - source: salt://common/motd.j2
    - template: jinja

operators:
  group.present:
    - system: true
