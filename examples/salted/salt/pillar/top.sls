base:
  '*':
    - house
