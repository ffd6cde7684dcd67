"""The words that a company is made of: names by country, offices, departments with their ladders, project
words."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Country:
    """A country with an office. `phone` is its calling code, `weight` its share of the staff."""

    code: str
    name: str
    city: str
    state: str | None
    postal_code: str
    street: str
    office: str
    language: str
    phone: str
    weight: int
    given_names: tuple[str, ...]
    surnames: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.replace("_", " ") for word in text.split())


COUNTRIES = (
    Country(
        "FR",
        "France",
        "Rennes",
        "Bretagne",
        "35000",
        "12 quai Duguay-Trouin",
        "Rennes HQ",
        "fr-FR",
        "+33",
        24,
        _words(
            "Camille Léa Chloé Manon Inès Zoé Aurélie Hélène Maëlle Noémie Louis Gabriel Raphaël Léo "
            "Hugo Théo Loïc Gaëtan Étienne François Benoît Jérôme Mathis Yanis Anaïs"
        ),
        _words(
            "Martin Bernard Lefèvre Moreau Girard Lefort Le_Goff Guégan Dupré Chauvin Béranger "
            "Faucher Hervé Kervella Morvan Pélissier Rousseau Tanguy d'Aboville Quéméneur Le_Bihan "
            "Caradec Besnard"
        ),
    ),
    Country(
        "US",
        "United States",
        "Austin",
        "TX",
        "78701",
        "500 Congress Ave",
        "Austin 4F",
        "en-US",
        "+1",
        18,
        _words(
            "Ava Emma Olivia Mia Grace Harper Nora Zoey Liam Noah Mason Ethan Logan Jack Owen Wyatt "
            "Caleb Isaac DeShawn Maria-José Aaliyah Brooklyn"
        ),
        _words(
            "Smith Johnson Williams Brown Jones Garcia Miller O'Neil Rodriguez Wilson Thompson Nguyen "
            "Washington McAllister Hernandez Patel O'Brien Van_Dyke Jackson Kim"
        ),
    ),
    Country(
        "DE",
        "Germany",
        "München",
        "Bayern",
        "80331",
        "Sendlinger Straße 8",
        "München Mitte",
        "de-DE",
        "+49",
        14,
        _words(
            "Anna Lena Greta Jürgen Björn Sören Käthe Lukas Felix Paul Jonas Maximilian Ute Heike Zoë Günther"
        ),
        _words(
            "Müller Schmidt Schneider Fischer Weber Schäfer Köhler Groß Jäger Böhm Weiß Krüger "
            "von_der_Heide Strauß Öztürk Vögele"
        ),
    ),
    Country(
        "IN",
        "India",
        "Pune",
        "Maharashtra",
        "411001",
        "7 MG Road",
        "Pune Tech Park",
        "en-IN",
        "+91",
        14,
        _words(
            "Aarav Vivaan Aditya Arjun Ishaan Ananya Diya Priya Kavya Lakshmi Rohan Sanjay Meera Nikhil Pooja"
        ),
        _words(
            "Sharma Verma Gupta Iyer Nair Reddy Kulkarni Deshpande Banerjee Mukherjee Singh Joshi Rao Pillai"
        ),
    ),
    Country(
        "ES",
        "Spain",
        "Sevilla",
        "Andalucía",
        "41001",
        "Calle Sierpes 40",
        "Sevilla",
        "es-ES",
        "+34",
        7,
        _words("Lucía Sofía María Begoña Álvaro Íñigo José Andrés Nuria Pilar Adrián Óscar"),
        _words("García Fernández González Muñoz Ibáñez Núñez Peña Ordóñez Sáez Cañadas López"),
    ),
    Country(
        "PL",
        "Poland",
        "Kraków",
        "Małopolskie",
        "31-010",
        "Rynek Główny 22",
        "Kraków",
        "pl-PL",
        "+48",
        7,
        _words("Zofia Małgorzata Agnieszka Łukasz Paweł Michał Kacper Jakub Świętosława Katarzyna Grzegorz"),
        _words("Nowak Kowalski Wiśniewski Wójcik Kamiński Zieliński Szymański Dąbrowski Żuk Ćwikliński"),
    ),
    Country(
        "JP",
        "Japan",
        "東京",
        None,
        "100-0005",
        "丸の内1-9-1",
        "Tokyo Marunouchi",
        "ja-JP",
        "+81",
        6,
        _words("Yuki Haruka Sakura Aoi Ren Hiroto Kenji Takumi Naoko Ayumi 健太 美咲 翔太"),
        _words("Sato Suzuki Takahashi Tanaka Watanabe Ito Yamamoto Nakamura Kobayashi 田中 佐藤 Ōno"),
    ),
    Country(
        "AE",
        "United Arab Emirates",
        "Dubai",
        None,
        "",
        "Sheikh Zayed Road",
        "Dubai DIFC",
        "ar-AE",
        "+971",
        4,
        _words("Fatima Aisha Omar Khalid Layla Yousef Mariam Hassan Noor سارة محمد"),
        _words("Al-Mansoori Haddad Al-Farsi Khoury Saleh Rahman Nasser Aziz الهاشمي"),
    ),
    Country(
        "BR",
        "Brazil",
        "São Paulo",
        "SP",
        "01310-100",
        "Avenida Paulista 1578",
        "São Paulo",
        "pt-BR",
        "+55",
        6,
        _words("João Antônio Thaís Letícia Luísa Vinícius Caíque Fernanda Beatriz Matheus"),
        _words("Silva Souza Araújo Gonçalves Magalhães Conceição Assunção Ferreira Simões"),
    ),
)


@dataclass(frozen=True, slots=True)
class Department:
    """A department: its share of the staff, its cost centre, and its titles from the top down."""

    name: str
    cost_center: str
    weight: int
    titles: tuple[str, ...]


DEPARTMENTS = (
    Department(
        "Engineering",
        "CC-4100",
        28,
        (
            "VP Engineering",
            "Engineering Director",
            "Engineering Manager",
            "Staff Engineer",
            "Senior Software Engineer",
            "Software Engineer",
            "QA Engineer",
        ),
    ),
    Department(
        "Sales",
        "CC-2100",
        18,
        (
            "Chief Revenue Officer",
            "Sales Director",
            "Regional Sales Manager",
            "Account Executive",
            "Sales Development Representative",
        ),
    ),
    Department(
        "Customer Support",
        "CC-2300",
        14,
        ("Head of Support", "Support Manager", "Support Lead", "Support Engineer", "Support Agent"),
    ),
    Department(
        "Operations",
        "CC-3100",
        12,
        (
            "Chief Operating Officer",
            "Operations Director",
            "Plant Manager",
            "Team Lead",
            "Operator",
            "Logistician",
        ),
    ),
    Department(
        "Marketing",
        "CC-2200",
        7,
        (
            "Chief Marketing Officer",
            "Marketing Manager",
            "Content Strategist",
            "Designer",
            "Event Coordinator",
        ),
    ),
    Department(
        "Finance",
        "CC-1100",
        7,
        ("Chief Financial Officer", "Controller", "Accounting Manager", "Accountant", "Payroll Specialist"),
    ),
    Department(
        "Human Resources",
        "CC-1200",
        5,
        ("Chief People Officer", "HR Manager", "HR Business Partner", "Recruiter"),
    ),
    Department(
        "IT",
        "CC-1300",
        6,
        (
            "Chief Information Officer",
            "IT Manager",
            "Systems Administrator",
            "Network Engineer",
            "Helpdesk Technician",
        ),
    ),
    Department("Security", "CC-1310", 2, ("CISO", "SOC Manager", "Security Engineer", "SOC Analyst")),
    Department("Legal & Compliance", "CC-1400", 1, ("General Counsel", "Compliance Officer", "Paralegal")),
)

PROJECTS = _words(
    "Aurora Borealis Citadelle Dolmen Écume Falaise Granit Horizon Iroise Jusant Korrigan "
    "Lagune Mistral Noroît Orion Phare Quartz Ressac Sillage Tramontane Ushant Varech Zéphyr "
    "Atlas Beacon Cobalt Delta Ember Fjord Glacier"
)

PROJECT_KINDS = _words(
    "Steering Build Rollout Pilot Migration Review Readers Owners Vendors Test Release Design"
)

PARTNERS = ("fabrikam.com", "northwindtraders.com", "adatum.com", "woodgrovebank.com", "proseware.de")

SERVICES = _words(
    "backup crm-sync scanner payroll-export build-agent monitoring erp-bridge fax-gateway badge-printer dns"
)

ROOMS = _words("Belle-Île Ouessant Bréhat Groix Molène Sein Houat Hœdic Cézembre Batz")
