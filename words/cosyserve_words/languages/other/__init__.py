"""Any other language: number words from num2words; units, currencies, months and separators from CLDR (babel)."""
