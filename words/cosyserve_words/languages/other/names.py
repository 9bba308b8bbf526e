"""Names that CLDR has in every language: units, currencies, months, and the signs in numbers."""

import re
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import get_month_names
from babel.numbers import get_currency_name, get_decimal_symbol, get_group_symbol
from babel.units import format_unit

from cosyserve_words.languages.tables import table

UNITS = table(
    "km=length-kilometer m=length-meter cm=length-centimeter mm=length-millimeter µm=length-micrometer "
    "μm=length-micrometer nm=length-nanometer mi=length-mile ft=length-foot in=length-inch kg=mass-kilogram "
    "g=mass-gram mg=mass-milligram µg=mass-microgram μg=mass-microgram t=mass-tonne lb=mass-pound oz=mass-ounce "
    "l=volume-liter L=volume-liter ml=volume-milliliter mL=volume-milliliter cl=volume-centiliter h=duration-hour "
    "min=duration-minute s=duration-second ms=duration-millisecond km/h=speed-kilometer-per-hour "
    "m/s=speed-meter-per-second mph=speed-mile-per-hour kn=speed-knot °C=temperature-celsius ℃=temperature-celsius "
    "°F=temperature-fahrenheit °=angle-degree %=concentr-percent ‰=concentr-permille W=power-watt kW=power-kilowatt "
    "MW=power-megawatt GW=power-gigawatt V=electric-volt A=electric-ampere mA=electric-milliampere "
    "Hz=frequency-hertz kHz=frequency-kilohertz MHz=frequency-megahertz GHz=frequency-gigahertz "
    "kWh=energy-kilowatt-hour J=energy-joule kJ=energy-kilojoule kcal=energy-foodcalorie Pa=pressure-pascal "
    "hPa=pressure-hectopascal kPa=pressure-kilopascal bar=pressure-bar ha=area-hectare m²=area-square-meter "
    "m2=area-square-meter km²=area-square-kilometer km2=area-square-kilometer cm²=area-square-centimeter "
    "m³=volume-cubic-meter m3=volume-cubic-meter cm³=volume-cubic-centimeter cm3=volume-cubic-centimeter "
    "kB=digital-kilobyte MB=digital-megabyte GB=digital-gigabyte TB=digital-terabyte "
    "mmol/l=concentr-millimole-per-liter mmol/L=concentr-millimole-per-liter Ω=electric-ohm N=force-newton "
    "px=graphics-pixel"
)
"""CLDR's name for a unit by its sign."""
CYRILLIC = table(
    "км=length-kilometer м=length-meter см=length-centimeter мм=length-millimeter кг=mass-kilogram г=mass-gram "
    "мг=mass-milligram т=mass-tonne л=volume-liter мл=volume-milliliter ч=duration-hour мин=duration-minute "
    "с=duration-second км/ч=speed-kilometer-per-hour м/с=speed-meter-per-second кВт=power-kilowatt Вт=power-watt "
    "В=electric-volt га=area-hectare м²=area-square-meter км²=area-square-kilometer м³=volume-cubic-meter"
)
CYRILLIC_LANGUAGES = frozenset({"ru", "uk", "be", "bg", "kk", "sr"})
_PERCENT = table("vi=phần_trăm ar=بالمئة he=אחוז hi=प्रतिशत tg=фоиз ce=процент ko=퍼센트")
"""Where CLDR has the sign alone."""
CURRENCIES = table(
    "€=EUR Euro=EUR euro=EUR euros=EUR US$=USD HK$=HKD NT$=TWD R$=BRL A$=AUD C$=CAD $=USD £=GBP ¥=JPY ￥=JPY ₩=KRW "
    "₽=RUB ₹=INR ₴=UAH ₺=TRY ₪=ILS ฿=THB ₫=VND zł=PLN Kč=CZK Ft=HUF EUR=EUR USD=USD GBP=GBP JPY=JPY CHF=CHF CNY=CNY "
    "RUB=RUB PLN=PLN CZK=CZK HUF=HUF SEK=SEK NOK=NOK DKK=DKK BRL=BRL CAD=CAD AUD=AUD KRW=KRW INR=INR TRY=TRY UAH=UAH"
)
_NUMBER = re.compile(r"-?[0-9](?:[0-9.,\s'’]*[0-9])?")
_HEAD_SAYS_ENOUGH = {"fr", "es", "it", "pt", "ca"}
"""Romance languages: of `dollars des États-Unis` people say the first word."""


@lru_cache(maxsize=64)
def locale(code: str) -> Locale:
    """CLDR's locale; its root where it has none."""
    try:
        return Locale.parse(code)
    except (UnknownLocaleError, ValueError):
        return Locale("en")


@lru_cache(maxsize=64)
def separators(code: str) -> tuple[str, str]:
    """The decimal sign, and a pattern of what stands between thousands."""
    decimal = get_decimal_symbol(locale(code))
    group = get_group_symbol(locale(code))
    return decimal, "[ '’]" if group.isspace() or group in "'’" else re.escape(group)


def unit_signs(code: str) -> list[str]:
    """The signs of units in texts of this language, longest first."""
    return sorted([*UNITS, *(CYRILLIC if code in CYRILLIC_LANGUAGES else [])], key=len, reverse=True)


@lru_cache(maxsize=64)
def months(code: str) -> dict[str, int]:
    """Names of months as they stand in dates, small letters, and their numbers."""
    return {name.lower(): number for number, name in get_month_names("wide", "format", locale(code)).items()}


def month(number: int, code: str) -> str:
    """A month's name in a date."""
    return str(get_month_names("wide", "format", locale(code))[number])


@lru_cache(maxsize=512)
def unit(sign: str, number: str, code: str) -> str:
    """A unit behind a number, in the form that the number asks for, with `{}` where the number stands."""
    name = UNITS.get(sign) or CYRILLIC[sign]
    said = str(format_unit(Decimal(number), name, length="long", locale=locale(code)))
    if sign == "%" and code in _PERCENT:
        said = re.sub("[%٪]", f" {_PERCENT[code]}", said).replace("  ", " ")
    return _NUMBER.sub("{}", said, count=1).replace("\N{NO-BREAK SPACE}", " ")


@lru_cache(maxsize=512)
def currency(sign: str, number: str, code: str) -> str:
    """A currency behind a number, in the form that the number asks for."""
    name = str(get_currency_name(CURRENCIES[sign], Decimal(number), locale=locale(code)))
    if code == "ru" and CURRENCIES[sign] == "RUB":
        return name.rsplit(maxsplit=1)[-1]
    if code not in _HEAD_SAYS_ENOUGH:
        return name
    return name.split(maxsplit=1)[0].lower()
