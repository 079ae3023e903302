base:
  '*':
    - common
  'rails-*':
    - rails
