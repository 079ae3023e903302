base:
  '*':
    - house
  'rails-*':
    - rails
